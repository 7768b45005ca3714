"""A round's document whenever it changes, through lost connections, to the round's end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from ..api.round import KIND
from ..kube.errors import ClusterError, ClusterUnavailable, Gone, NotFound, NotServed
from ..kube.port import Cluster, Document, EventType
from .ends import End, Exit, over

WATCH: Final = 30.0
"""Seconds of one watch; after each the round is read again, so that a lost event is only late."""
PATIENCE: Final = 60.0
"""Seconds for which a cluster that was reached once may be away."""
_PAUSE: Final = 2.0


def read_round(cluster: Cluster, namespace: str, name: str) -> Document:
    """The round's document.

    Raises:
        End: NOT_FOUND or UNREACHABLE.
    """
    try:
        return cluster.get(KIND, namespace, name)
    except (NotFound, NotServed) as error:
        raise End(Exit.NOT_FOUND, f"{error}; `kubectl get fround -A` lists the rounds there are") from error
    except ClusterError as error:
        raise End(Exit.UNREACHABLE, str(error)) from error


def follow(
    cluster: Cluster,
    namespace: str,
    name: str,
    *,
    seconds: float | None = None,
    on_lost: Callable[[str], None] = lambda _: None,
    watch: float = WATCH,
    patience: float = PATIENCE,
) -> Iterator[Document]:
    """Yield the round's document now and after each change; ends after the one in which the round is over.

    Args:
        seconds: after which it ends all the same; None: no sooner than the round.
        on_lost: told once each time the connection is lost.

    Raises:
        End: NOT_FOUND where the round is not there or was deleted, UNREACHABLE after `patience` seconds without an answer.
    """
    end = None if seconds is None else time.monotonic() + seconds
    document = read_round(cluster, namespace, name)
    uid = document["metadata"].get("uid")
    away: float | None = None
    while True:
        yield document
        if over(document.get("status", {})) is not None:
            return
        version = document["metadata"]["resourceVersion"]
        fresh = None
        while fresh is None:
            left = watch if end is None else min(watch, end - time.monotonic())
            if left <= 0:
                return
            try:
                fresh, version = _next(cluster, document, version, left)
                away = None
            except ClusterUnavailable as error:
                if away is None:
                    away = time.monotonic()
                    on_lost(str(error))
                if time.monotonic() - away >= patience:
                    raise End(Exit.UNREACHABLE, str(error)) from error
                time.sleep(min(_PAUSE, patience / 10, left))
            except NotFound as error:
                raise End(Exit.NOT_FOUND, f"round {name} was deleted before it was over") from error
            except ClusterError as error:
                raise End(Exit.UNREACHABLE, str(error)) from error
        if fresh["metadata"].get("uid") != uid:
            raise End(Exit.NOT_FOUND, f"round {name} was deleted; another one of its name was created")
        document = fresh


def _next(cluster: Cluster, document: Document, version: str, seconds: float) -> tuple[Document | None, str]:
    """The document after its next change or None, and the version to watch from next."""
    metadata = document["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    try:
        for event in cluster.watch(KIND, namespace, version, seconds):
            version = event.object["metadata"]["resourceVersion"]
            if event.object["metadata"]["name"] == name:
                if event.type is EventType.DELETED:
                    raise NotFound(name)
                return event.object, version
        fresh = cluster.get(KIND, namespace, name)
    except Gone:  # the object's own version may be as old as that: only a list says where to go on
        found, version = cluster.list(KIND, namespace)
        named = [d for d in found if d["metadata"]["name"] == name]
        if not named:
            raise NotFound(name) from None
        fresh = named[0]
    changed = fresh["metadata"]["resourceVersion"] != metadata["resourceVersion"]
    return (fresh if changed else None), version
