"""A board that was set back: when so many silos refuse it that the round cannot go on, a fresh enrolment, everything new."""

from __future__ import annotations

from ..api.reasons import FaultReason
from ..api.task import TaskPhase
from .context import Context, Draft
from .kinds import Kind


def step_rewound(ctx: Context, out: Draft) -> bool:
    """Void an enrolment that stood and that too many silos have left for a board that was set back; whether it was.

    The silos that left it never answer it again, so its keys, shares and sums are lost for good. They take part in another
    one, if the hub asks. Only while training: later, rows have left under an epoch's key, and a round has one.
    """
    refusing = ctx.gone & _refusing(ctx)
    if not refusing:
        return False
    lost = len(ctx.roster) - len(ctx.gone) < ctx.need
    mended = len(ctx.roster) - len(ctx.gone - refusing) >= ctx.need
    if not (lost and mended):
        return False
    out.decide(ctx.at, Kind.VOID, {"reason": FaultReason.BOARD_REWOUND.value, "lost": []})
    return True


def _refusing(ctx: Context) -> frozenset[str]:
    """Silos that say so by a fault or, where an agent that was started anew had nothing to sign with, by their task."""
    reason = FaultReason.BOARD_REWOUND
    said = {f.sender for f in ctx.board.faults(ctx.enrolment) if f.body.get("reason") == reason}
    tasks = {silo: ctx.observed.tasks.get(ctx.task(silo)) for silo in ctx.roster}
    shown = {
        s for s, t in tasks.items() if t is not None and t.phase is TaskPhase.FAILED and t.reason == reason
    }
    return frozenset(said | shown)
