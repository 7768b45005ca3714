"""Whether the operator lives and is ready: judged by finished work, not by a process that merely answers.

An operator whose watch has stalled looks well to every probe that only asks the process (kopf issues 204, 232,
734, 957; dask-kubernetes issue 620). So liveness here is evidence: something was reconciled, or the resync ran.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from enum import StrEnum


class Need(StrEnum):
    """What must have happened once before the operator is ready."""

    CRDS_CHECKED = "the served CRDs have the fields that are needed"
    CACHES_LISTED = "every kind has been listed"
    EXCHANGE_ANSWERED = "the exchange has answered"


class Health:
    """What the probes ask. Safe for threads.

    Args:
        stale_after: seconds without any finished work after which an operator that has work is stuck.
        resync_every: seconds between the starts of two resyncs.
        needs: what readiness waits for; a role without an exchange leaves that one out.
        now: a clock in seconds that never goes back.
    """

    def __init__(
        self,
        *,
        stale_after: float = 120.0,
        resync_every: float = 30.0,
        needs: Collection[Need] = tuple(Need),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stale_after, self._resync_every, self._now = stale_after, resync_every, now
        self._lock = threading.Lock()
        self._open = set(needs)
        self._progress = self._resync = now()
        self._depth, self._busy_since = 0, 0.0
        self._closing = False

    def met(self, need: Need) -> None:
        """What readiness waits for has happened."""
        with self._lock:
            self._open.discard(need)

    def progressed(self) -> None:
        """A reconcile has ended, well or badly."""
        with self._lock:
            self._progress = self._now()

    def resynced(self) -> None:
        """A resync has ended: every object has been queued. Workers may be stuck all the same: no progress."""
        with self._lock:
            self._resync = self._now()

    def queue_depth(self, depth: int) -> None:
        """How many keys wait for a worker or are with one now."""
        with self._lock:
            if depth and not self._depth:
                self._busy_since = self._now()
            self._depth = depth

    def closing(self) -> None:
        """The operator is ending: not ready any longer, and nothing that stands still is a fault."""
        with self._lock:
            self._closing = True

    def sick(self) -> list[str]:
        """Why the operator should be restarted; empty while it lives."""
        with self._lock:
            if self._closing:
                return []
            now, found = self._now(), []
            # A key that has just arrived may wait: what went before it says nothing.
            stuck = now - max(self._progress, self._busy_since)
            if self._depth and stuck > self._stale_after:
                found.append(f"{self._depth} keys are queued and nothing was reconciled for {stuck:.0f} s")
            late = now - self._resync - self._resync_every
            if late > self._stale_after:
                found.append(f"the resync is overdue by {late:.0f} s")
            return found

    def unready(self) -> list[str]:
        """What readiness still waits for; empty when ready."""
        with self._lock:
            if self._closing:
                return ["the operator is ending"]
            return [f"not yet: {need.value}" for need in Need if need in self._open]
