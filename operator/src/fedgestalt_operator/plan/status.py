"""FederationRound.status: a projection of the board, the Jobs and the wish. Deleted, it comes back the same.

Times of the last hearing stay out of it: they change all the time, and a status that changes is a write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..api.conditions import Condition, ConditionType, Truth, documents, timestamp
from ..api.reasons import RoundReason, RowsReason, SuspendedReason
from ..api.round import Phase
from .context import Context, hex_of
from .kinds import Kind
from .summary import summary_of
from .training import member_progress
from .types import Entry, TaskState, Wait

MAX_WAITS: Final = 128
MAX_MESSAGE: Final = 1024


def build_status(ctx: Context, phase: Phase, waits: Sequence[Wait]) -> dict[str, Any]:
    """The status document of a round in `phase` that waits for `waits`."""
    waits = [] if phase in (Phase.SUCCEEDED, Phase.FAILED) else sorted(waits, key=_urgency)
    released = _only(ctx.board.anywhere(Kind.RELEASED))
    status: dict[str, Any] = {
        "observedGeneration": ctx.round.metadata.generation,
        "phase": phase.value,
        "enrolment": ctx.enrolment if ctx.digest else 0,
        "roster": list(ctx.roster or ctx.invited),
        "silos": [_silo(ctx, silo) for silo in ctx.roster or ctx.invited],
        "members": [_member(ctx, name) for name in ctx.round.trainable] if ctx.roster else [],
        "waitingFor": [_wait(w) for w in waits[:MAX_WAITS]],
        "conditions": documents(_conditions(ctx, phase)),
        "summary": summary_of(ctx, phase, waits),
    }
    if ctx.digest:
        status["computationDigest"] = ctx.digest
    if released is not None:
        status["releaseDigest"] = hex_of(released.body["digest"])
    return status


def _silo(ctx: Context, silo: str) -> dict[str, Any]:
    faults = [f for f in ctx.board.faults(ctx.enrolment) if f.sender == silo]
    task: TaskState | None = ctx.observed.tasks.get(ctx.task(silo))
    document: dict[str, Any] = {"name": silo, "connected": ctx.live(silo), "out": silo in ctx.out}
    if task is not None:
        # Steps of 5 %: finer ones would be writes that nobody reads.
        percent = round(100 * task.fraction) // 5 * 5
        document["task"] = {"phase": task.phase.value, "reason": task.reason, "percent": percent}
        if task.causes:
            document["task"]["causes"] = [cause.value for cause in task.causes]
    if faults:
        document["fault"] = str(faults[-1].body.get("reason", ""))
    if silo in _rows_refused(ctx):
        document["fault"] = RowsReason.ROWS_REFUSED.value
    differing = _differs(ctx, silo)
    if differing:
        document["differs"] = differing
    return document


def _rows_refused(ctx: Context) -> frozenset[str]:
    """Silos whose rows were closed with the others', and who have no rankings: the kernel could not use them."""
    closed, ranked = ctx.board.hub(Kind.ROWS_CLOSED, ctx.at), ctx.board.hub(Kind.RANKINGS, ctx.at)
    if closed is None or ranked is None:
        return frozenset()
    return frozenset(silo for silo in closed.body["silos"] if silo not in ranked.body["owners"])


def _differs(ctx: Context, silo: str) -> str:
    """The last place where a silo's model hash or table was not the quorum's; empty where there is none."""
    for advance in reversed(ctx.board.anywhere(Kind.ADVANCE)):
        if advance.enrolment != ctx.enrolment:
            continue
        at = (advance.enrolment, advance.member, advance.t, advance.attempt)
        said = ctx.board.silos(Kind.MODEL, at).get(silo)
        if said is not None and said.body["hash"] != advance.body["hash"]:
            return f"model {advance.member} t={advance.t}"
    return ""


def _member(ctx: Context, name: str) -> dict[str, Any]:
    progress = member_progress(ctx, name)
    document: dict[str, Any] = {"name": name, "done": progress.done, "rounds": progress.rounds}
    document["skipped"] = list(progress.skipped)
    if progress.model is not None:
        document["model"] = hex_of(progress.model)
    return document


def _conditions(ctx: Context, phase: Phase) -> list[Condition]:
    generation, created = ctx.round.metadata.generation, ctx.round.metadata.created
    conditions = [_succeeded(ctx, phase)]
    pauses = ctx.clock.pauses
    if ctx.clock.suspended:
        suspended = (Truth.TRUE, SuspendedReason.REQUESTED, "both deadlines stand still", pauses[-1][0])
    elif pauses:
        suspended = (Truth.FALSE, SuspendedReason.RESUMED, "", pauses[-1][1] or created)
    else:
        suspended = (Truth.FALSE, SuspendedReason.NOT_REQUESTED, "", created)
    status, reason, message, since = suspended
    conditions.append(Condition(ConditionType.SUSPENDED, status, reason, message, since, generation))
    return conditions


def _succeeded(ctx: Context, phase: Phase) -> Condition:
    def condition(status: Truth, reason: RoundReason, message: str, since: float) -> Condition:
        generation = ctx.round.metadata.generation
        return Condition(ConditionType.SUCCEEDED, status, reason, message[:MAX_MESSAGE], since, generation)

    released = _only(ctx.board.anywhere(Kind.RELEASED))
    failed = _only(ctx.board.anywhere(Kind.FAILED))
    if released is not None:
        signers = len(released.body["signers"])
        return condition(Truth.TRUE, RoundReason.RELEASED, f"signed by {signers} silos", released.received)
    if failed is not None:
        reason = RoundReason(failed.body["reason"])
        return condition(Truth.FALSE, reason, str(failed.body["message"]), failed.received)
    if phase is Phase.SUCCEEDED:
        message = "all silos enrolled and confirmed; stopAfter is Enrolling"
        return condition(Truth.TRUE, RoundReason.REHEARSED, message, ctx.active_since or ctx.now)
    return condition(Truth.UNKNOWN, RoundReason(phase.value), "", ctx.round.metadata.created)


def _wait(wait: Wait) -> dict[str, Any]:
    document = {"who": wait.who, "what": wait.what, "since": timestamp(wait.since), "then": wait.then}
    if wait.until is not None:
        document["until"] = timestamp(wait.until)
    return document


def _urgency(wait: Wait) -> tuple[bool, float, str, str]:
    """The next to fall due first."""
    return (wait.until is None, wait.until or 0.0, wait.who, wait.what)


def _only(entries: list[Entry]) -> Entry | None:
    return entries[0] if entries else None
