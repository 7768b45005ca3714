"""Clocks: two deadlines that stop while a round is suspended, and the timer for stragglers that does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LOST_AFTER = 90.0
"""Seconds of silence after which a silo counts as lost."""

START_WITHIN = 300.0
"""Seconds from a Job's creation within which its pod must run: image, node, volumes. A clock of its own, since the active
deadline, of days, is the wrong one for a pod that nothing will ever start."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time by the hub's clock with the pauses in which deadlines stood still."""

    now: float
    pauses: tuple[tuple[float, float | None], ...] = ()

    def paused(self, since: float) -> float:
        """Seconds of suspension between `since` and now."""
        return sum(max(0.0, min(end or self.now, self.now) - max(begin, since)) for begin, end in self.pauses)

    @property
    def suspended(self) -> bool:
        """Whether the last pause is still open."""
        return bool(self.pauses) and self.pauses[-1][1] is None

    def until(self, since: float, seconds: float) -> float:
        """When a deadline of `seconds` from `since` falls due, as far as is known now."""
        return since + seconds + self.paused(since)

    def due(self, since: float, seconds: float) -> bool:
        """Whether that deadline has passed. Never while suspended."""
        return not self.suspended and self.now >= self.until(since, seconds)

    def last_resumed(self) -> float | None:
        """When the last suspension ended."""
        ends = [end for _, end in self.pauses if end is not None]
        return max(ends) if ends else None


def is_live(last_heard: float | None, now: float) -> bool:
    """Whether a silo has been heard within the last 90 s."""
    return last_heard is not None and now - last_heard <= LOST_AFTER


def start_until(since: float, restart: int) -> float:
    """Until when a Job's pod must run that could from `since` on; each restart has twice as long as the one before.

    So a node that is missing for an hour does not use up the restarts of a round that took days.
    """
    return since + START_WITHIN * 2.0**restart


def first(times: Iterable[float]) -> float | None:
    """The earliest of the times, or None."""
    return min(times, default=None)
