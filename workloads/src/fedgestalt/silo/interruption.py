"""A stop that is heard in whatever the main thread waits for: a request, a pause between retries, a lock.

A flag alone is seen only where somebody looks. A call to an exchange that is away takes up to two minutes with its retries,
and a lock may be held that long by a thread that makes one; meanwhile the orchestrator's patience (30 s on Kubernetes)
ends with SIGKILL, and the trainer with it, without a checkpoint. Signals reach the main thread in any of these waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType


class _Stopped(BaseException):
    """Not an Exception: nobody on the way up may take it for a failure of what was interrupted."""


class Interruption:
    """Ends :meth:`run` at a signal. The interrupted work must bear a kill at any moment: what it began is not ended."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        """Set once the end was asked for; the other threads look at it."""
        self._armed = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The handler for :func:`signal.signal`. Further signals change nothing: the end is under way."""
        self.stopping.set()
        if self._armed:
            self._armed = False
            raise _Stopped

    def run(self, work: Callable[[], None]) -> None:
        """Call ``work`` on the main thread and return when it does, or when a signal comes, whichever is first."""
        try:
            try:
                self._armed = True
                if not self.stopping.is_set():  # a signal may have come before anything could be interrupted
                    work()
            finally:
                self._armed = False
        except _Stopped:
            pass
