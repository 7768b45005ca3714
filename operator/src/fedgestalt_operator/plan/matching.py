"""Encoding and Matching: the silos' masked rows, the kernel Job over them, the rankings for their owners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..api.reasons import RoundReason
from ..api.round import Operation
from ..api.task import TaskKind
from .attempts import run_job
from .context import Context, Draft, complete, hex_of
from .enrolment import ensure_tasks
from .kinds import ENCODING, MATCHING, Kind
from .names import kernel_name
from .quorum_lost import quorum_lost
from .types import Entry, JobKind, JobState
from .waiting import gather, state_waits


def step_encoding(ctx: Context, out: Draft) -> None:
    """Close the rows when all live silos sent theirs, or enough did in time."""
    stage = ctx.board.hub(Kind.STAGE, (ctx.enrolment, ENCODING, 0, 0))
    began = stage.received if stage is not None else ctx.now
    ensure_tasks(ctx, out, TaskKind.ENCODE, ctx.encoders)
    closed = ctx.board.hub(Kind.ROWS_CLOSED, ctx.at)
    if closed is not None:
        out.decide((ctx.enrolment, MATCHING, 0, 0), Kind.STAGE, {})
        return
    rows = complete(ctx.board.silos(Kind.ROWS, ctx.at))
    needed = _needed(ctx)
    step = gather(ctx, rows, ctx.encoders, needed=needed, excused=ctx.excused(ctx.at))
    if step.complete:
        agreeing = _agreeing(ctx, step.arrived)
        if len(agreeing) < needed:
            out.fail(
                RoundReason.BUNDLE_DIVERGED,
                f"{needed} silos with one extractor and one epoch key are needed, {len(agreeing)} of "
                f"{len(step.arrived)} agree",
            )
            return
        out.decide(ctx.at, Kind.ROWS_CLOSED, {"silos": agreeing})
        out.decide((ctx.enrolment, MATCHING, 0, 0), Kind.STAGE, {})
    elif step.hopeless:
        quorum_lost(ctx, out, step.missing)
    else:
        state_waits(ctx, out, step, "rows", began)


def step_matching(ctx: Context, out: Draft) -> None:
    """Run the kernel Job and post where each owner finds its sealed rankings.

    A silo whose rows the Job could not use goes on without rankings, as one that sent none: the others do not lose a
    trained round for it.
    """
    closed = ctx.board.hub(Kind.ROWS_CLOSED, ctx.at)
    assert closed is not None, "Matching begins after rows-closed"
    owners = set(closed.body["silos"])
    uid = ctx.round.metadata.uid
    parameters: dict[str, str | int] = {"round": uid, "enrolment": ctx.enrolment}
    if ctx.round.operation is Operation.ADOPT and ctx.observed.computation is not None:
        parameters["epoch"] = ctx.observed.computation["base"]["epoch"]
    job = run_job(
        ctx,
        out,
        JobKind.KERNEL,
        lambda restart: kernel_name(uid, ctx.enrolment, restart),
        parameters,
        lambda state: _has_owners(state, owners),
        closed.received,
    )
    if job.state is not None:
        found = {name: bytes.fromhex(digest) for name, digest in job.state.result["owners"].items()}
        if len(found) < _needed(ctx):
            named = ", ".join(f"{silo} ({why})" for silo, why in sorted(_refused(job.state).items()))
            out.fail(
                RoundReason.KERNEL_FAILED,
                f"rows of {_needed(ctx)} silos are needed that the kernel can compare, it has {len(found)}; refused: {named}",
            )
            return
        out.decide(ctx.at, Kind.RANKINGS, {"owners": found})
    elif job.stuck:
        out.fail(RoundReason.KERNEL_NOT_STARTED, f"the kernel Job's last restart never ran: {job.stuck}")
    elif job.exhausted:
        out.fail(RoundReason.KERNEL_FAILED, "the kernel Job failed and so did its restarts; see its log")


def _agreeing(ctx: Context, rows: Mapping[str, Entry]) -> list[str]:
    """The silos whose rows come from one extractor and one epoch key: the base's when adopting, else the most common.

    Rows of another network or frame lie in the same space by accident only; ranked with the others they would be noise.
    """
    made = {s: (hex_of(e.body["sealed"]), hex_of(e.body["epoch_check"])) for s, e in sorted(rows.items())}
    base = ctx.observed.base
    if ctx.round.operation is Operation.ADOPT and base is not None:
        wanted = (base.manifest["bundle"]["digest"], base.manifest["epochCheck"])
    else:
        counts = Counter(made.values())
        wanted = min(counts, key=lambda pair: (-counts[pair], pair))
    return [silo for silo, pair in made.items() if pair == wanted]


def _needed(ctx: Context) -> int:
    """Silos whose rows are needed; of newcomers one is enough."""
    return 1 if ctx.round.operation is Operation.ADOPT else ctx.need


def _has_owners(state: JobState, closed: set[str]) -> bool:
    """Whether the Job answers for every silo whose rows it was given: with rankings, or with why there are none."""
    found, refused = state.result.get("owners"), _refused(state)
    return (
        isinstance(found, dict)
        and found.keys() | refused.keys() == closed
        and not found.keys() & refused.keys()
        and all(len(str(d)) == 64 for d in found.values())
    )


def _refused(state: JobState) -> dict[str, str]:
    """Silos whose rows the Job could not use, with its short reasons."""
    found = state.result.get("refused", {})
    return {str(silo): str(reason) for silo, reason in found.items()} if isinstance(found, dict) else {}
