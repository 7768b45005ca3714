"""A queue of keys for worker threads: each key at most once, one worker at a time, later if asked, patient after errors."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

log = logging.getLogger(__name__)

FIRST_RETRY: Final = 0.5
LONGEST_RETRY: Final = 60.0

Key = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(order=True)
class _Due:
    at: float
    key: Key = field(compare=False)


class WorkQueue:
    """Safe for threads. `now` is a clock that never goes back, in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._due: dict[Key, float] = {}
        self._heap: list[_Due] = []
        self._working: set[Key] = set()
        self._again: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._closed = False

    def add(self, key: Key, after: float = 0.0) -> None:
        """Have `key` worked on in `after` seconds, or sooner if that was asked before."""
        at = self._now() + after
        with self._changed:
            if key in self._working:
                self._again[key] = min(at, self._again.get(key, at))
                return
            if at < self._due.get(key, float("inf")):
                self._push(key, at)

    def take(self) -> tuple[Key, float] | None:
        """The next key that is due and the seconds that it waited since; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                now = self._now()
                while self._heap and self._due.get(self._heap[0].key) != self._heap[0].at:
                    heapq.heappop(self._heap)  # asked for sooner since, or taken
                if self._heap and self._heap[0].at <= now:
                    due = heapq.heappop(self._heap)
                    del self._due[due.key]
                    self._working.add(due.key)
                    return due.key, now - due.at
                self._changed.wait(self._heap[0].at - now if self._heap else None)
            return None

    def done(self, key: Key, after: float | None) -> None:
        """`key` was worked on; look again in `after` seconds (None: only at news)."""
        with self._changed:
            self._failures.pop(key, None)
            self._finish(key, after)

    def failed(self, key: Key) -> float:
        """`key` could not be worked on: again after a while that doubles with each failure. Returns the seconds."""
        with self._changed:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            after = min(FIRST_RETRY * 2.0 ** min(count - 1, 20), LONGEST_RETRY)
            self._finish(key, after)
            return after

    def _finish(self, key: Key, after: float | None) -> None:
        self._working.discard(key)
        again = self._again.pop(key, None)
        times = [t for t in (again, None if after is None else self._now() + after) if t is not None]
        if times:
            self._push(key, min(times))

    def _push(self, key: Key, at: float) -> None:
        self._due[key] = at
        heapq.heappush(self._heap, _Due(at, key))
        if len(self._heap) > 64 + 2 * len(self._due):  # wishes that later ones overtook
            self._heap = [_Due(when, wanted) for wanted, when in self._due.items()]
            heapq.heapify(self._heap)
        self._changed.notify()

    def depth(self) -> int:
        """Keys that are due now or being worked on."""
        with self._changed:
            now = self._now()
            return len(self._working) + sum(at <= now for at in self._due.values())

    def close(self) -> None:
        """Let nobody take any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Workers:
    """Threads that work through a queue until it is closed."""

    def __init__(
        self,
        queue: WorkQueue,
        work: Callable[[Key], float | None],
        *,
        threads: int = 4,
        on_done: Callable[[Key, float, float, Exception | None], None] = lambda *_: None,
    ) -> None:
        """
        Args:
            work: does a key's work; seconds until the next time, or None.
            on_done: told (key, seconds it waited, seconds it took, what went wrong).
        """
        self._queue, self._work, self._on_done = queue, work, on_done
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{i}", daemon=True) for i in range(threads)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self, timeout: float) -> None:
        """Wait until the work at hand is done, at most `timeout` seconds in all."""
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while (taken := self._queue.take()) is not None:
            key, waited = taken
            began = time.monotonic()
            problem: Exception | None = None
            try:
                after = self._work(key)
            except Exception as error:
                # Whatever it is, this key comes again and the others go on; the outcome is counted and logged.
                problem = error
                after = self._queue.failed(key)
                log.warning("%s %s/%s: %s: %s; again in %.1f s", *key, type(error).__name__, error, after)
                log.debug("where it failed", exc_info=error)
            else:
                self._queue.done(key, after)
            try:
                self._on_done(key, waited, time.monotonic() - began, problem)
            except Exception:
                log.exception("what listens to the workers failed")
