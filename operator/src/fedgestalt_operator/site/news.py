"""Threads that watch kinds of one namespace and say when something has changed."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from ..kube.errors import ClusterError, Gone
from ..kube.port import Cluster, Document

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 20.0
PAUSE_SECONDS: Final = 2.0


class News:
    """Sets `changed` at each change of an object that matters, and after each gap. `start` once, then `join`."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        kinds: Collection[str],
        *,
        changed: threading.Event,
        stopping: threading.Event,
        matters: Callable[[Document], bool] = lambda _: True,
        on_seen: Callable[[str], None] = lambda _: None,
    ) -> None:
        """
        Args:
            matters: whether a change of this object is news.
            on_seen: told the kind whenever a list or a watch got through, bookmarks too.
        """
        self._cluster, self._namespace = cluster, namespace
        self._changed, self._stopping = changed, stopping
        self._matters, self._on_seen = matters, on_seen
        self._threads = [
            threading.Thread(target=self._watch, args=(kind,), name=f"watch {kind}", daemon=True)
            for kind in kinds
        ]

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait a moment for the threads; whoever sets `stopping` need not wait for a watch to end."""
        end = time.monotonic() + PAUSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _watch(self, kind: str) -> None:
        while not self._stopping.is_set():
            try:
                _, version = self._cluster.list(kind, self._namespace)
                self._on_seen(kind)
                self._changed.set()  # of what lay between two watches nobody was told
                with contextlib.suppress(Gone):
                    self._follow(kind, version)
            except Exception as error:
                # Whatever it is, a watch that ended for good would leave the site blind between two resyncs.
                log.warning("watching %s: %s", kind, error, exc_info=not isinstance(error, ClusterError))
                self._stopping.wait(PAUSE_SECONDS)

    def _follow(self, kind: str, version: str) -> None:
        for event in self._cluster.watch(kind, self._namespace, version, WATCH_SECONDS):
            if self._stopping.is_set():
                return
            self._on_seen(kind)
            named = event.object["metadata"].get("name")  # a bookmark has none
            if named and self._matters(event.object):
                self._changed.set()
