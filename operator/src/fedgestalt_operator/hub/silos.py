"""The silos as the planner wants to see them: what the platform team registered, and when they were last heard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

from ..api.silo import Silo, parse_silo
from ..kube.port import Cluster
from ..plan.types import SiloState
from .ports import HubExchange, Presence

FRESH: Final = 1.0
"""Seconds for which one look serves all rounds: a thousand rounds do not ask a thousand times."""


class SiloDirectory:
    """Silos of one namespace with their presence. Safe for threads."""

    def __init__(
        self, cluster: Cluster, exchange: HubExchange, namespace: str, now: Callable[[], float]
    ) -> None:
        self._cluster, self._exchange, self._namespace, self._now = cluster, exchange, namespace, now
        self._lock = threading.Lock()
        self._until, self._stale = -1.0, True
        self._silos: Mapping[str, Silo] = {}
        self._presence: Mapping[str, Presence] = {}

    def forget(self) -> None:
        """Look again at the next question: a Silo changed."""
        # No lock: whoever holds it may be waiting for an answer, and the caller may be an event loop.
        self._stale = True

    def look(self) -> tuple[Mapping[str, Silo], Mapping[str, Presence]]:
        """Registered silos and what the exchange knows of them, at most a second old."""
        with self._lock:
            now = self._now()
            if self._stale or not self._until - FRESH <= now < self._until:
                self._stale = False  # first, so that a change while we look is not missed
                documents, _ = self._cluster.list("Silo", self._namespace)
                self._silos = {d["metadata"]["name"]: parse_silo(d) for d in documents}
                self._presence = self._exchange.silos()
                self._until = now + FRESH
            return self._silos, self._presence

    def states(self, *, begun: bool) -> dict[str, SiloState]:
        """What the planner is told.

        Args:
            begun: the round's board has messages. An exchange that was started anew has heard nobody yet; then
                silence counts from that start, or every silo of a running round would be lost at once.
        """
        silos, presence = self.look()
        return {name: _state(silo, presence.get(name), self._now(), begun) for name, silo in silos.items()}


def _state(silo: Silo, found: Presence | None, now: float, begun: bool) -> SiloState:
    heard = None
    if found is not None:
        heard = found.serving_since if found.last_heard is None and begun else found.last_heard
    identity = silo.identity(now)
    return SiloState(
        last_heard=heard,
        accepted=silo.accepted,
        version=found.version if found is not None else "",
        identity=identity or "",
        labels=silo.metadata.labels,
    )
