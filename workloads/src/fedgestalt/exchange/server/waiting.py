"""Long polls: who waits for a topic is woken when it changes, within the millisecond."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

MAX_WAIT: Final = 25.0
"""Seconds; hospital proxies cut idle connections at 30 or 60."""

T = TypeVar("T")


class Waiting:
    """Topics with waiters. Lives on one event loop."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}
        self._closed = False

    def notify(self, *topics: str) -> None:
        """Wake everybody who waits for one of the topics."""
        for topic in topics:
            event = self._events.pop(topic, None)
            if event is not None:
                event.set()

    def close(self) -> None:
        """Wake everybody and let nobody wait any more: the server is going down."""
        self._closed = True
        self.notify(*list(self._events))

    async def until(
        self, topic: str, read: Callable[[], Awaitable[T]], ready: Callable[[T], bool], wait: float
    ) -> T:
        """Read until the result is ``ready`` or ``wait`` seconds (at most 25) are over; return it."""
        deadline = time.monotonic() + min(max(wait, 0.0), MAX_WAIT)
        while True:
            # Taken before reading: a change between reading and waiting sets this event.
            event = self._events.setdefault(topic, asyncio.Event())
            result = await read()
            left = deadline - time.monotonic()
            if ready(result) or left <= 0 or self._closed:
                return result
            try:
                await asyncio.wait_for(event.wait(), left)
            except TimeoutError:
                return result
