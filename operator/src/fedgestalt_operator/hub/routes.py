"""kopf's part: events of the cluster become keys of the work queue. No work is done here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import kopf

from ..api import GROUP
from ..kube.labels import MANAGER, ROUND_UID
from .queue import WorkQueue
from .rounds import RoundIndex

VERSION: Final = "v1alpha1"
SILOS: Final = ("Silo", "", "")
"""One key for all Silos: their registry is one document."""


def hub_routes(
    queue: WorkQueue,
    rounds: RoundIndex,
    *,
    on_gone: Callable[[str], None],
    on_silo: Callable[[], None],
    is_own: Callable[[Mapping[str, Any]], bool],
    on_event: Callable[[str], None] = lambda _: None,
) -> kopf.OperatorRegistry:
    """The hub's registry of handlers.

    Args:
        on_gone: told the uid of a round that was deleted.
        on_silo: told that a Silo changed.
        is_own: whether a round's change is what we wrote ourselves.
        on_event: told the kind of each event, for the age of the watches.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, "federationrounds", registry=registry)
    async def route_round(type: str | None, body: Mapping[str, Any], **_: Any) -> None:
        on_event("FederationRound")
        if type == "DELETED":
            on_gone(body["metadata"]["uid"])
            return
        key = rounds.learn(body)
        if not is_own(body):
            queue.add(key)

    @kopf.on.event(GROUP, VERSION, "silos", registry=registry)
    async def route_silo(**_: Any) -> None:
        on_event("Silo")
        on_silo()
        queue.add(SILOS)
        for key in rounds.all("Pending"):
            queue.add(key)

    @kopf.on.event(GROUP, VERSION, "releases", registry=registry)
    async def route_release(type: str | None, namespace: str | None, name: str | None, **_: Any) -> None:
        on_event("Release")
        if type != "DELETED":
            queue.add(("Release", namespace or "", name or ""))

    @kopf.on.event("batch", "v1", "jobs", labels={"app.kubernetes.io/managed-by": MANAGER}, registry=registry)
    async def route_job(labels: Mapping[str, str], **_: Any) -> None:
        on_event("Job")
        key = rounds.key(labels.get(ROUND_UID, ""))
        if key is not None:
            queue.add(key)

    return registry
