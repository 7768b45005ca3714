"""One secure aggregation of (member, t): keys, shares, masked vectors, survivors, reveals, sum, model.

The rule behind the order of questions: nothing is decided twice, a survivor set once posted is the only one
this t will ever have, and a new try is started only when it can succeed where the open one cannot.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..api.reasons import FaultReason, RetryReason, RoundReason
from .attempts import WIDER_BOUND, run_job
from .context import Context, Draft, complete
from .kinds import Kind
from .names import aggregate_name
from .suspension import resume_wait
from .tries import Try, current_try, retry, skip
from .types import Entry, JobKind, JobState, Wait
from .waiting import GO_ON, Gathered, gather, state_waits


@dataclass(frozen=True, slots=True)
class Outcome:
    """How (member, t) ended: with a new model hash, or skipped (`model` None)."""

    model: bytes | None


def step_aggregation(
    ctx: Context, out: Draft, member: str, t: int, base: bytes | None, began: float, *, quiet: bool = False
) -> Outcome | None:
    """Decide what can be decided for (member, t); the outcome once it is over, None before.

    `base` is the global model's hash at t-1 where the board knows it. `began` is when this t could begin.
    `quiet` leaves out the wait for first keys (members whose turn has not come).
    """
    current = current_try(ctx, member, t)
    if current.over is not None:
        return Outcome(current.over.body["hash"] if current.over.kind == Kind.ADVANCE else None)
    board, at = ctx.board, current.at
    keyset, senders = board.hub(Kind.KEYSET, at), board.hub(Kind.SENDERS, at)
    survivors, aggregate = board.hub(Kind.SURVIVORS, at), board.hub(Kind.AGGREGATE, at)
    if survivors is None and _bound_exceeded(ctx, out, current):
        return None
    if keyset is None:
        _keys(ctx, out, current, base, began, quiet)
    elif senders is None:
        _shares(ctx, out, current, keyset)
    elif survivors is None:
        _uploads(ctx, out, current, senders)
    elif aggregate is None:
        _reveals(ctx, out, current, senders, survivors)
    else:
        _models(ctx, out, current, aggregate)
    return None


def _bound_exceeded(ctx: Context, out: Draft, current: Try) -> bool:
    """A value beyond the bound needs a wider one for all: once, and only while no survivor set is pinned."""
    faults = ctx.board.faults_at(current.at)
    exceeded = [
        f for f in faults if f.body.get("reason") == FaultReason.BOUND_EXCEEDED and f.sender in ctx.roster
    ]
    if not exceeded or current.scale != 1 or current.pinned is not None:
        return False
    retry(ctx, out, current, RetryReason.BOUND_EXCEEDED, WIDER_BOUND)
    return True


def _keys(ctx: Context, out: Draft, current: Try, base: bytes | None, began: float, quiet: bool) -> None:
    """Close the set of keys among the silos that hold the right global model."""
    arrived = ctx.board.silos(Kind.KEYS, current.at)
    agreeing = {s: e for s, e in arrived.items() if e.body["model"] == (base or _majority(arrived, "model"))}
    excused = ctx.excused(current.at) | (arrived.keys() - agreeing.keys())
    usable = {s: e for s, e in agreeing.items() if s not in _faulted_after(ctx, current, agreeing)}
    what = f"keys {current.member} t={current.t}"
    if arrived.keys() >= set(ctx.roster) and len(agreeing) < ctx.need:
        out.fail(RoundReason.MODEL_DIVERGED, f"{what}: fewer than {ctx.need} silos hold the same model")
        return
    if current.pinned is not None:
        step = gather(
            ctx, usable, current.pinned, needed=len(current.pinned), floor=current.opened, excused=excused
        )
        if not step.missing:
            out.decide(current.at, Kind.KEYSET, {"silos": list(current.pinned)})
        else:
            opened = current.opened if current.opened is not None else began
            _await_pinned(ctx, out, current, step, what, opened, RetryReason.SILO_FAULT)
        return
    step = gather(ctx, usable, ctx.roster, needed=ctx.need, excused=excused)
    if ctx.round.suspend and current.attempt == 1:
        if not quiet:
            out.waits.append(resume_wait(ctx.clock.pauses[-1][0] if ctx.clock.suspended else ctx.now))
    elif step.complete:
        out.decide(current.at, Kind.KEYSET, {"silos": list(step.arrived)})
    elif step.hopeless and _mendable(ctx, current):
        retry(ctx, out, current, RetryReason.SILO_FAULT)
    elif arrived or not quiet:
        state_waits(ctx, out, step, what, began)


def _shares(ctx: Context, out: Draft, current: Try, keyset: Entry) -> None:
    """All of the key set shared their self masks, or enough did in time."""
    members = keyset.body["silos"]
    arrived = _valid(ctx, current, ctx.board.silos(Kind.SHARES, current.at))
    excused, what = ctx.excused(current.at), f"shares {current.member} t={current.t}"
    needed = len(current.pinned) if current.pinned is not None else ctx.need
    step = gather(ctx, arrived, members, needed=needed, floor=keyset.received, excused=excused)
    if step.complete:
        out.decide(current.at, Kind.SENDERS, {"silos": list(step.arrived)})
    elif current.pinned is not None:
        _await_pinned(ctx, out, current, step, what, keyset.received, RetryReason.TOO_FEW_SHARES)
    else:
        _await_or_retry(ctx, out, current, step, what, keyset.received, RetryReason.TOO_FEW_SHARES)


def _uploads(ctx: Context, out: Draft, current: Try, senders: Entry) -> None:
    """Fix the survivor set: all senders, or enough in time; a pinned set must come back whole."""
    arrived = _valid(ctx, current, complete(ctx.board.silos(Kind.MASKED, current.at)))
    excused, what = ctx.excused(current.at), f"upload {current.member} t={current.t}"
    expected = current.pinned if current.pinned is not None else senders.body["silos"]
    needed = len(current.pinned) if current.pinned is not None else ctx.need
    step = gather(ctx, arrived, expected, needed=needed, excused=excused)
    if step.complete:
        out.decide(current.at, Kind.SURVIVORS, {"silos": list(step.arrived)})
    elif current.pinned is not None:
        _await_pinned(ctx, out, current, step, what, senders.received, RetryReason.TOO_FEW_UPLOADS)
    else:
        _await_or_retry(ctx, out, current, step, what, senders.received, RetryReason.TOO_FEW_UPLOADS)


def _reveals(ctx: Context, out: Draft, current: Try, senders: Entry, survivors: Entry) -> None:
    """Run the aggregation Job once the reveals suffice: tau self shares, and every pair with a dropped
    sender.
    """
    survived = survivors.body["silos"]
    dropped = set(senders.body["silos"]) - set(survived)
    needed = len(survived) if dropped else ctx.tau
    arrived = {s: e for s, e in ctx.board.silos(Kind.REVEAL, current.at).items() if s in survived}
    if len(arrived) >= needed:
        uid = ctx.round.metadata.uid
        job = run_job(
            ctx,
            out,
            JobKind.AGGREGATE,
            lambda r: aggregate_name(uid, current.member, current.t, current.attempt, ctx.enrolment, r),
            {
                "round": uid,
                "enrolment": ctx.enrolment,
                "member": current.member,
                "t": current.t,
                "try": current.attempt,
            },
            _has_digest,
            max(e.received for e in arrived.values()),
        )
        if job.state is not None:
            digest = bytes.fromhex(job.state.result["digest"])
            out.decide(current.at, Kind.AGGREGATE, {"digest": digest, "silos": list(survived)})
        elif job.exhausted:
            retry(ctx, out, current, RetryReason.JOB_NOT_STARTED if job.stuck else RetryReason.JOB_FAILED)
        return
    accepts = {s: e for s, e in ctx.board.silos(Kind.ACCEPT, current.at).items() if s in survived}
    refused = {
        f.sender
        for f in ctx.board.faults_at(current.at)
        if f.body.get("reason") == FaultReason.SURVIVOR_SET_BURNT
    }
    if len(survived) - len(refused & set(survived)) < needed:
        skip(out, current)
        return
    missing_accepts = len(accepts) < ctx.tau
    waited = accepts if missing_accepts else arrived
    step = gather(
        ctx, waited, survived, needed=needed, floor=survivors.received, excused=ctx.excused(current.at)
    )
    word = "accept the survivors" if missing_accepts else "reveal shares"
    what = f"{word} {current.member} t={current.t}"
    _await_pinned(ctx, out, current, step, what, survivors.received, RetryReason.TOO_FEW_REVEALS)


def _models(ctx: Context, out: Draft, current: Try, aggregate: Entry) -> None:
    """Go on when tau silos report the same new model."""
    arrived = {s: e for s, e in ctx.board.silos(Kind.MODEL, current.at).items() if s in ctx.roster}
    agreed = _majority(arrived, "hash")
    equal = sorted(s for s, e in arrived.items() if e.body["hash"] == agreed)
    if len(equal) >= ctx.tau:
        out.decide(current.at, Kind.ADVANCE, {"hash": agreed, "silos": equal})
        return
    faults = [
        f for f in ctx.board.faults_at(current.at) if f.sender in ctx.roster and f.sender not in arrived
    ]
    open_answers = len(ctx.roster) - len(arrived) - len({f.sender for f in faults})
    if len(equal) + open_answers < ctx.tau:
        if any(f.body.get("reason") == FaultReason.CHECK_FAILED for f in faults):
            retry(ctx, out, current, RetryReason.CHECK_FAILED)
        elif len({bytes(e.body["hash"]) for e in arrived.values()}) <= 1:
            retry(ctx, out, current, RetryReason.SILO_FAULT)
        else:
            out.fail(
                RoundReason.MODEL_DIVERGED,
                f"{current.member} t={current.t}: {ctx.tau} equal model hashes are needed, "
                f"at most {len(equal) + open_answers} can still come",
            )
        return
    step = gather(
        ctx, arrived, ctx.roster, needed=ctx.tau, floor=aggregate.received, excused=ctx.excused(current.at)
    )
    state_waits(ctx, out, step, f"confirm the model {current.member} t={current.t}", aggregate.received)


def _mendable(ctx: Context, current: Try) -> bool:
    """Whether a new try could bring back enough silos that gave up this one."""
    live = [s for s in ctx.roster if ctx.live(s) and s not in ctx.out]
    return len(live) >= ctx.need


def _await_or_retry(
    ctx: Context, out: Draft, current: Try, step: Gathered, what: str, began: float, reason: RetryReason
) -> None:
    """Too few: a new try when time is up and enough silos are there for one, else wait for the lost ones."""
    in_vain = step.hopeless or (step.settled and step.since is not None)
    if not step.enough and in_vain and _mendable(ctx, current):
        retry(ctx, out, current, reason)
    else:
        then = GO_ON if step.enough else "another try"
        state_waits(ctx, out, step, what, began, then=then)


def _await_pinned(
    ctx: Context, out: Draft, current: Try, step: Gathered, what: str, began: float, reason: RetryReason
) -> None:
    """A pinned survivor set is waited for as a whole; a new try while all of it is there, else skip."""
    whole = all(ctx.live(s) and s not in ctx.out for s in current.pinned or ())
    if step.hopeless and whole:
        retry(ctx, out, current, reason)
    elif step.until is None or not step.timed_out:
        state_waits(ctx, out, step, what, began, then="another try")
    elif whole:
        retry(ctx, out, current, reason)
    elif ctx.now >= step.until + ctx.round.quorum.straggler_timeout:
        skip(out, current)
    else:
        until = step.until + ctx.round.quorum.straggler_timeout
        out.waits.extend(Wait(silo, what, began, until, f"skip t={current.t}") for silo in step.missing)


def _valid(ctx: Context, current: Try, arrived: dict[str, Entry]) -> dict[str, Entry]:
    """Messages that their sender has not taken back by a fault in the same try."""
    faulted = _faulted_after(ctx, current, arrived)
    return {s: e for s, e in arrived.items() if s not in faulted}


def _faulted_after(ctx: Context, current: Try, arrived: dict[str, Entry]) -> set[str]:
    return {
        f.sender
        for f in ctx.board.faults_at(current.at)
        if f.sender in arrived and f.seq > arrived[f.sender].seq
    }


def _majority(arrived: dict[str, Entry], name: str) -> bytes | None:
    """The value that most silos gave; the smaller one of equals, so that their order does not matter."""
    counts = Counter(bytes(e.body[name]) for e in arrived.values())
    return min(counts, key=lambda value: (-counts[value], value)) if counts else None


def _has_digest(state: JobState) -> bool:
    digest = state.result.get("digest")
    return isinstance(digest, str) and len(digest) == 64
