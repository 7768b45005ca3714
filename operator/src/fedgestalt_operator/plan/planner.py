"""The planner's only entrance."""

from __future__ import annotations

from typing import Final

from ..api.round import MANAGED_BY, FederationRound, Phase
from .context import Context, Draft, hex_of
from .deadlines import LOST_AFTER
from .kinds import Kind
from .stages import phase, step
from .status import MAX_MESSAGE, build_status
from .suspension import step_suspension
from .training import drop_blobs
from .types import DeleteJob, DeleteRound, DropBlobs, JobPhase, Observed, Plan, PublishRelease

RESYNC: Final = 30.0
"""Seconds after which a round is planned again even if nothing is due."""
_SOONEST: Final = 0.05


def plan(round: FederationRound, observed: Observed, now: float) -> Plan:
    """Decide what follows from a round and what is known of it at `now` (Unix seconds of the hub's clock).

    Pure and idempotent: what stands on the board is never decided again, and a call repeated with its own
    outcome applied comes to nothing new. Post the decisions in their order, then do the actions, then write
    the status; `requeue_after` is 0 when there are decisions, since they open the next question. A round that
    another controller manages gets an empty plan.
    """
    if round.managed_by != MANAGED_BY:
        return Plan((), (), {}, None)
    ctx, out = Context(round, observed, now), Draft()
    at = phase(ctx)
    if at in (Phase.SUCCEEDED, Phase.FAILED):
        return _finished(ctx, out, at)
    if ctx.board.hub(Kind.COMPUTATION) is not None:
        step_suspension(ctx, out)
    step(ctx, out, at)
    if out.failure is not None:
        reason, message = out.failure
        out.decisions.clear()
        out.actions.clear()
        out.decide(ctx.at, Kind.FAILED, {"reason": reason.value, "message": message[:MAX_MESSAGE]})
    else:
        drop_blobs(ctx, out, everything=False)
        _stop_unwanted_jobs(ctx, out)
    status = build_status(ctx, at, out.waits)
    return Plan(tuple(out.decisions), tuple(out.actions), status, _requeue(ctx, out))


def _finished(ctx: Context, out: Draft, at: Phase) -> Plan:
    """A round that is over: stop what runs, delete what was masked, and the round itself after its ttl."""
    drop_blobs(ctx, out, everything=True)
    if at is Phase.FAILED:
        _drop_rows(ctx, out)
    _stop_unwanted_jobs(ctx, out)
    released = ctx.board.anywhere(Kind.RELEASED)
    if released and not ctx.observed.published:
        out.actions.append(PublishRelease(hex_of(released[0].body["digest"])))
    requeue: float | None = None
    ttl = ctx.round.ttl_after_finished
    if ttl is not None:
        ends = [e.received for kind in (Kind.RELEASED, Kind.FAILED) for e in ctx.board.anywhere(kind)]
        left = (ends[0] if ends else ctx.active_since or ctx.now) + ttl - ctx.now
        if left <= 0:
            out.actions.append(DeleteRound())
        else:
            requeue = left
    return Plan((), tuple(out.actions), build_status(ctx, at, ()), requeue)


def _drop_rows(ctx: Context, out: Draft) -> None:
    """A round that failed has no use for anybody's rows; those of a release go when it is published."""
    rows = ctx.board.silos(Kind.ROWS, ctx.at).values()
    digests = sorted({hex_of(e.body["digest"]) for e in rows} - ctx.observed.dropped)
    if digests:
        out.actions.append(DropBlobs(tuple(digests)))


def _stop_unwanted_jobs(ctx: Context, out: Draft) -> None:
    """Delete Jobs that still run although their question is settled."""
    for name, state in sorted(ctx.observed.jobs.items()):
        if state.phase is JobPhase.RUNNING and name not in out.wanted_jobs:
            out.actions.append(DeleteJob(name))


def _requeue(ctx: Context, out: Draft) -> float:
    """Seconds to the next moment at which time alone can change the plan."""
    if out.decisions:
        return 0.0
    moments = [w.until for w in out.waits if w.until is not None]
    moments += [s.last_heard + LOST_AFTER for s in ctx.observed.silos.values() if s.last_heard is not None]
    future = [m - ctx.now for m in moments if m > ctx.now]
    return max(_SOONEST, min([*future, RESYNC]))
