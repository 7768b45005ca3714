"""Encoding and Matching: the silos' masked rows, the kernel Job over them, the rankings for their owners."""

from __future__ import annotations

from ..api.reasons import RoundReason
from ..api.task import TaskKind
from .attempts import run_job
from .context import Context, Draft, complete
from .enrolment import ensure_tasks
from .kinds import ENCODING, MATCHING, Kind
from .names import kernel_name
from .quorum_lost import quorum_lost
from .types import JobKind, JobState
from .waiting import gather, state_waits


def step_encoding(ctx: Context, out: Draft) -> None:
    """Close the rows when all live silos sent theirs, or enough did in time."""
    stage = ctx.board.hub(Kind.STAGE, (ctx.enrolment, ENCODING, 0, 0))
    began = stage.received if stage is not None else ctx.now
    ensure_tasks(ctx, out, TaskKind.ENCODE, ctx.roster)
    closed = ctx.board.hub(Kind.ROWS_CLOSED, ctx.at)
    if closed is not None:
        out.decide((ctx.enrolment, MATCHING, 0, 0), Kind.STAGE, {})
        return
    rows = complete(ctx.board.silos(Kind.ROWS, ctx.at))
    step = gather(ctx, rows, ctx.roster, needed=ctx.need, excused=ctx.excused(ctx.at))
    if step.complete:
        out.decide(ctx.at, Kind.ROWS_CLOSED, {"silos": list(step.arrived)})
        out.decide((ctx.enrolment, MATCHING, 0, 0), Kind.STAGE, {})
    elif step.hopeless:
        quorum_lost(ctx, out, step.missing)
    else:
        state_waits(ctx, out, step, "rows", began)


def step_matching(ctx: Context, out: Draft) -> None:
    """Run the kernel Job and post where each owner finds its sealed rankings."""
    closed = ctx.board.hub(Kind.ROWS_CLOSED, ctx.at)
    assert closed is not None, "Matching begins after rows-closed"
    owners = set(closed.body["silos"])
    uid = ctx.round.metadata.uid
    job = run_job(
        ctx,
        out,
        JobKind.KERNEL,
        lambda restart: kernel_name(uid, ctx.enrolment, restart),
        {"round": uid, "enrolment": ctx.enrolment},
        lambda state: _has_owners(state, owners),
        closed.received,
    )
    if job.state is not None:
        found = {name: bytes.fromhex(digest) for name, digest in job.state.result["owners"].items()}
        out.decide(ctx.at, Kind.RANKINGS, {"owners": found})
    elif job.exhausted:
        out.fail(RoundReason.KERNEL_FAILED, "the kernel Job failed and so did its restarts; see its log")


def _has_owners(state: JobState, owners: set[str]) -> bool:
    found = state.result.get("owners")
    return (
        isinstance(found, dict) and found.keys() == owners and all(len(str(d)) == 64 for d in found.values())
    )
