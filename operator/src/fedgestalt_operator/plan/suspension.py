"""Suspending: a fact on the board, so that both deadlines stand still by everyone's reckoning.

`stage` messages with member `Suspended` and `Resumed` and t = 1, 2, ... mark its begin and end. What is in
flight finishes: the round rests where the next t would begin.
"""

from __future__ import annotations

from .context import Context, Draft
from .kinds import RESUMED, SUSPENDED, Kind
from .types import Wait


def step_suspension(ctx: Context, out: Draft) -> None:
    """Mark the begin or end of a suspension when the wish and the board differ."""
    pauses = ctx.clock.pauses
    if ctx.round.suspend and not ctx.clock.suspended:
        out.decide((ctx.enrolment, SUSPENDED, len(pauses) + 1, 0), Kind.STAGE, {})
    elif not ctx.round.suspend and ctx.clock.suspended:
        out.decide((ctx.enrolment, RESUMED, len(pauses), 0), Kind.STAGE, {})


def resume_wait(since: float) -> Wait:
    """The stated wait of a suspended round: only the coordinator can end it."""
    return Wait("coordinator", "resume the round", since, None, "the round goes on")
