"""The clock by which rounds are planned: the exchange's, for it dates every message and knows when a silo was heard."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

WORTH_SAYING: Final = 30.0
"""Seconds between the two clocks from which on a person should know: tokens end to be valid at some minutes."""


class ExchangeClock:
    """The operator's own clock, put right by each answer that says what time it is at the exchange. Safe for threads.

    Two clocks of one cluster may differ, and nothing shows it: compared with the operator's own time, a silo that was heard
    a second ago would be lost, and a straggler timeout over as soon as it began. So times are only ever compared with times
    of the same clock.
    """

    def __init__(self, own: Callable[[], float] = time.time) -> None:
        """`own`: Unix time here."""
        self._own, self._ahead, self._said = own, 0.0, False

    def __call__(self) -> float:
        """Unix time at the exchange, as far as is known; the operator's own before the first answer."""
        return self._own() + self._ahead

    def own(self) -> float:
        """Unix time here, to be taken before a question whose answer is `learn`t."""
        return self._own()

    def learn(self, asked: float, there: float) -> None:
        """The exchange said that it was `there`; it was `asked` at that time here, and the answer has just come."""
        self._ahead = there - (asked + self._own()) / 2.0
        apart = abs(self._ahead) > WORTH_SAYING
        if apart and not self._said:
            word = "ahead of" if self._ahead > 0 else "behind"
            log.warning(
                "the exchange's clock is %.0f s %s the operator's; set both right", abs(self._ahead), word
            )
        self._said = apart
