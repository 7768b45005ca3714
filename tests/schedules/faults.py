"""What may go wrong between any two calls: errors, crashes, and others that move in between. All of it from one seed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
BEFORE, AFTER, CONFLICT = "before", "after", "conflict"


class Crash(BaseException):
    """The process is dead: no handler of errors may see this."""


class Violation(AssertionError):  # noqa: N818
    """Something that must never happen did."""


@dataclass
class Weather:
    """How bad a schedule is. `rate` is the probability of an error at each call."""

    rng: random.Random = field(repr=False)
    rate: float = 0.0
    busy: float = 0.0
    """Probability that somebody else moves between two calls."""
    stale: float = 0.0
    """Probability that a read is answered from the past, at most `lag` seconds old."""
    lag: float = 0.0
    exchange_away: bool = False
    cluster_away: bool = False
    calm: bool = False

    def clear(self) -> None:
        """All faults cease."""
        self.calm = True
        self.rate = self.busy = self.stale = 0.0
        self.exchange_away = self.cluster_away = False

    def fate(self, *, write: bool, conflicts: bool) -> str:
        """What happens to one call; empty for nothing."""
        if not self.rate or self.rng.random() >= self.rate:
            return ""
        if not write:
            return BEFORE
        return self.rng.choice((BEFORE, AFTER, AFTER, CONFLICT) if conflicts else (BEFORE, AFTER, AFTER))


@dataclass
class Gate:
    """Through which every call of one process of the hub goes."""

    weather: Weather
    between: Callable[[], None] = lambda: None
    """Called between any two calls: others may move here."""
    doomed: int | None = None
    """Moments left until the process is killed."""
    seen: int = 0
    """The youngest version of the cluster that this process was shown: it is never shown an older one."""

    def moment(self) -> None:
        """Between two calls."""
        if self.doomed is not None:
            self.doomed -= 1
            if self.doomed < 0:
                raise Crash
        self.between()

    def call(
        self,
        do: Callable[[], T],
        unknown: type[Exception],
        *,
        away: bool,
        write: bool = False,
        conflict: type[Exception] | None = None,
    ) -> T:
        """Do something, or not, or say that nothing is known of it."""
        self.moment()
        fate = BEFORE if away else self.weather.fate(write=write, conflicts=conflict is not None)
        if fate == BEFORE:
            raise unknown("no answer")
        if fate == CONFLICT and conflict is not None:
            raise conflict("has changed since it was read")
        result = do()
        self.moment()
        if fate == AFTER:
            raise unknown("the answer was lost")
        return result


@dataclass
class TakingTurns:
    """Two processes at once, of which one moves at a time; whose turn it is changes between calls, by the seed."""

    rng: random.Random
    _turns: list[threading.Semaphore] = field(default_factory=list)
    _over: list[bool] = field(default_factory=list)
    _errors: list[BaseException] = field(default_factory=list)
    _current: int = 0

    def run(self, *works: Callable[[], None]) -> None:
        """Run all of them to their ends; raises the first error."""
        self._turns = [threading.Semaphore(0) for _ in works]
        self._over = [False for _ in works]
        threads = [
            threading.Thread(target=self._work, args=(i, work), daemon=True) for i, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        self._turns[0].release()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def between(self) -> None:
        """Perhaps let another one go on."""
        me = self._current
        others = [i for i, over in enumerate(self._over) if not over and i != me]
        if others and self.rng.random() < 0.4:
            self._pass_to(self.rng.choice(others))
            self._turns[me].acquire()
            self._current = me

    def _pass_to(self, other: int) -> None:
        self._current = other
        self._turns[other].release()

    def _work(self, me: int, work: Callable[[], None]) -> None:
        self._turns[me].acquire()
        self._current = me
        try:
            work()
        except BaseException as error:
            self._errors.append(error)
        self._over[me] = True
        others = [i for i, over in enumerate(self._over) if not over]
        if others:
            self._pass_to(others[0])
