"""Where a round stands, read from the board alone, and which question each stage asks."""

from __future__ import annotations

from ..api.reasons import RoundReason
from ..api.round import Operation, Phase
from .admission import step_admission
from .aggregation import step_aggregation
from .context import Context, Draft
from .enrolment import step_enrolment
from .kinds import ENCODING, EVALUATION, MATCHING, RELEASING, Kind
from .matching import step_encoding, step_matching
from .quorum_lost import quorum_lost
from .releases import step_releasing, step_scores
from .rewound import step_rewound
from .roster import step_acceptance
from .training import step_training
from .tries import current_try


def phase(ctx: Context) -> Phase:
    """The phase of a round as the board tells it."""
    board, e = ctx.board, ctx.enrolment
    if board.anywhere(Kind.RELEASED):
        return Phase.SUCCEEDED
    if board.anywhere(Kind.FAILED):
        return Phase.FAILED
    if board.hub(Kind.COMPUTATION) is None:
        return Phase.PENDING
    if board.hub(Kind.ENROLLED, ctx.at) is None:
        return Phase.ENROLLING
    if ctx.round.stop_after == "Enrolling":
        return Phase.SUCCEEDED
    adopting = ctx.round.operation is Operation.ADOPT
    first = Phase.ENROLLING if adopting else Phase.TRAINING
    for name, before in ((ENCODING, first), (MATCHING, Phase.ENCODING), (RELEASING, Phase.MATCHING)):
        if board.hub(Kind.STAGE, (e, name, 0, 0)) is None:
            return before
    return Phase.RELEASING


def step(ctx: Context, out: Draft, at: Phase) -> None:
    """Ask the question of a phase; beyond enrolment, bounded by the active deadline."""
    match at:
        case Phase.PENDING:
            step_acceptance(ctx, out)
        case Phase.ENROLLING if ctx.board.hub(Kind.ENROLLED, ctx.at) is not None:
            step_admission(ctx, out)
        case Phase.ENROLLING:
            step_enrolment(ctx, out)
        case Phase.TRAINING:
            if step_rewound(ctx, out):
                return
            step_training(ctx, out)
        case Phase.ENCODING:
            step_encoding(ctx, out)
        case Phase.MATCHING:
            _match(ctx, out)
        case Phase.RELEASING:
            step_releasing(ctx, out)
        case Phase.SUCCEEDED | Phase.FAILED:
            return
    since = ctx.active_since
    if since is not None and len(ctx.roster) - len(ctx.gone) < ctx.need:
        quorum_lost(ctx, out, ctx.gone)
    if since is not None and ctx.clock.due(since, ctx.round.deadlines.active):
        awaited = ", ".join(f"{w.who}: {w.what}" for w in out.waits[:8])
        out.fail(
            RoundReason.DEADLINE_EXCEEDED, f"in {at.value}, waiting for {awaited or 'nothing in particular'}"
        )


def _match(ctx: Context, out: Draft) -> None:
    """Matching: the kernel, then the secure sum of the evaluation, then the silos' equal tables."""
    rankings = ctx.board.hub(Kind.RANKINGS, ctx.at)
    if rankings is None:
        step_matching(ctx, out)
    elif ctx.round.operation is Operation.ADOPT:
        # The newcomer scores itself and keeps the result: a sum over one silo would be that silo's own figures.
        out.decide((ctx.enrolment, RELEASING, 0, 0), Kind.STAGE, {})
    elif current_try(ctx, EVALUATION, 1).over is None:
        step_aggregation(ctx, out, EVALUATION, 1, None, rankings.received)
    else:
        step_scores(ctx, out, rankings)
