"""Whether the operator lives and is ready: judged by finished work, not by a process that merely answers.

An operator whose watch has stalled looks well to every probe that only asks the process (kopf issues 204, 232,
734, 957; dask-kubernetes issue 620). So liveness here is evidence: something was reconciled, or the resync ran.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Final


class Need(StrEnum):
    """What must have happened once before the operator is ready."""

    CRDS_CHECKED = "the served CRDs have the fields that are needed"
    CACHES_LISTED = "every kind has been listed"
    EXCHANGE_ANSWERED = "the exchange has answered"


class Contact(StrEnum):
    """Who must answer now and then for the operator to stay ready."""

    API_SERVER = "the API server"
    EXCHANGE = "the exchange"


SILENT_SECONDS: Final = 120.0
"""Longer than any long poll, list or watch in between: two resyncs of a site."""


class Health:
    """What the probes ask. Safe for threads.

    An operator that cannot reach whom it works with is not ready, which everybody sees who lists pods; it lives all the
    same, for a restart would mend nothing.

    Args:
        stale_after: seconds without any finished work after which an operator that has work is stuck.
        resync_every: seconds between the starts of two resyncs.
        needs: what readiness waits for.
        silent_after: seconds without an answer of one of `Contact` after which readiness is withdrawn.
        now: a clock in seconds that never goes back.
    """

    def __init__(
        self,
        *,
        stale_after: float = 120.0,
        resync_every: float = 30.0,
        needs: Collection[Need] = tuple(Need),
        silent_after: float = SILENT_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stale_after, self._resync_every, self._now = stale_after, resync_every, now
        self._lock = threading.Lock()
        self._open, self._silent_after = set(needs), silent_after
        self._answered = dict.fromkeys(Contact, now())
        self._progress = self._resync = now()
        self._depth, self._busy_since = 0, 0.0
        self._closing = False

    def met(self, need: Need) -> None:
        """What readiness waits for has happened."""
        with self._lock:
            self._open.discard(need)

    def reached(self, contact: Contact) -> None:
        """It has answered, if only to say that nothing is new."""
        with self._lock:
            self._answered[contact] = self._now()

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
        """What readiness still waits for, or who is silent; empty when ready."""
        with self._lock:
            if self._closing:
                return ["the operator is ending"]
            now = self._now()
            silent = {contact: now - answered for contact, answered in self._answered.items()}
            return [f"not yet: {need.value}" for need in Need if need in self._open] + [
                f"{contact.value} has not answered for {seconds:.0f} s"
                for contact, seconds in silent.items()
                if seconds > self._silent_after
            ]
