"""Training: T aggregations of every trainable member; and the blobs that nobody needs any longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..api.task import TaskKind
from .aggregation import step_aggregation
from .attempts import FIRST
from .context import Context, Draft, hex_of
from .enrolment import ensure_tasks
from .kinds import ENCODING, EVALUATION, Kind
from .suspension import resume_wait
from .tries import current_try
from .types import DropBlobs


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a member is: `done` of `rounds` communication rounds, the last model's hash, the skipped ts."""

    member: str
    done: int
    rounds: int
    model: bytes | None
    skipped: tuple[int, ...]


def member_progress(ctx: Context, member: str) -> Progress:
    """Read a member's progress from the board."""
    model: bytes | None = None
    skipped: list[int] = []
    rounds = ctx.round.communication_rounds
    for t in range(1, rounds + 1):
        over = current_try(ctx, member, t).over
        if over is None:
            return Progress(member, t - 1, rounds, model, tuple(skipped))
        if over.kind == Kind.ADVANCE:
            model = over.body["hash"]
        else:
            skipped.append(t)
    return Progress(member, rounds, rounds, model, tuple(skipped))


def step_training(ctx: Context, out: Draft) -> None:
    """Drive every member's open communication round; when all are done, begin Encoding."""
    members = [member_progress(ctx, name) for name in ctx.round.trainable]
    unfinished = [m for m in members if m.done < m.rounds]
    if not unfinished:
        if ctx.round.suspend:
            out.waits.append(resume_wait(ctx.clock.pauses[-1][0] if ctx.clock.suspended else ctx.now))
        else:
            out.decide((ctx.enrolment, ENCODING, 0, 0), Kind.STAGE, {})
        return
    ensure_tasks(ctx, out, TaskKind.TRAIN, ctx.roster)
    for place, progress in enumerate(unfinished):
        t = progress.done + 1
        began = _began(ctx, progress.member, progress.done)
        step_aggregation(ctx, out, progress.member, t, progress.model, began, quiet=place > 0)


def drop_blobs(ctx: Context, out: Draft, *, everything: bool) -> None:
    """Delete masked vectors of tries that were given up, and of ts whose model every survivor confirmed.

    A survivor that has not confirmed keeps them until the next t is over. `everything`: the round has ended.
    """
    # Of an enrolment that stood and was voided, nobody needs anything.
    voided = [e for e in range(FIRST, ctx.enrolment) if ctx.board.hub(Kind.ENROLLED, (e, "", 0, 0))]
    unwanted = {
        hex_of(entry.body["digest"])
        for entry in (ctx.observed.entries if voided else ())
        if entry.kind == Kind.MASKED and entry.enrolment in voided
    }
    for at, needed in _tries(ctx):
        if everything or not needed:
            entries = ctx.board.silos(Kind.MASKED, at).values()
            unwanted.update(hex_of(e.body["digest"]) for e in entries)
    rest = sorted(unwanted - ctx.observed.dropped)
    if rest:
        out.actions.append(DropBlobs(tuple(rest)))


def _tries(ctx: Context) -> Iterator[tuple[tuple[int, str, int, int], bool]]:
    """Coordinates of every try of this enrolment, and whether its blobs may still be needed."""
    encoding = ctx.board.hub(Kind.STAGE, (ctx.enrolment, ENCODING, 0, 0)) is not None
    plan = [(m, t) for m in ctx.round.trainable for t in range(1, ctx.round.communication_rounds + 1)]
    for member, t in [*plan, (EVALUATION, 1)]:
        current = current_try(ctx, member, t)
        for attempt in range(FIRST, current.attempt + 1):
            at = (ctx.enrolment, member, t, attempt)
            if attempt < current.attempt:
                yield at, False
            elif current.over is None:
                yield at, True
            else:
                later = current_try(ctx, member, t + 1).over is not None or (
                    encoding and member != EVALUATION
                )
                confirmed = set(current.pinned or ()) <= ctx.board.silos(Kind.MODEL, at).keys()
                yield at, not (confirmed or later or current.over.kind == Kind.SKIP)


def _began(ctx: Context, member: str, done: int) -> float:
    """When the next t of a member could begin: the last one was over, or the enrolment stood."""
    last = current_try(ctx, member, done).over if done else None
    return last.received if last is not None else ctx.active_since or ctx.now
