"""The tries of one (member, t): which one is open, at which bound, with which pinned survivor set."""

from __future__ import annotations

from dataclasses import dataclass

from ..api.reasons import RetryReason, RoundReason, SkipReason
from .attempts import FIRST, MAX_TRIES
from .board import Coordinates
from .context import Context, Draft
from .kinds import Kind
from .types import Entry


@dataclass(frozen=True, slots=True)
class Try:
    """The latest try of (member, t).

    `pinned` is the survivor set of the first try that had one: silos may have recorded it, so every later try
    has the same set or none. `opened` is when the retry before it was decided (None for the first try).
    `over` is the `advance` or `skip` that ended this t.
    """

    member: str
    t: int
    attempt: int
    at: Coordinates
    scale: int
    pinned: tuple[str, ...] | None
    opened: float | None
    over: Entry | None


def current_try(ctx: Context, member: str, t: int) -> Try:
    """Read the tries of (member, t) from the board."""
    attempt, scale = FIRST, 1
    pinned: tuple[str, ...] | None = None
    opened: float | None = None
    while True:
        at = (ctx.enrolment, member, t, attempt)
        survivors = ctx.board.hub(Kind.SURVIVORS, at)
        if survivors is not None and pinned is None:
            pinned = tuple(survivors.body["silos"])
        over = ctx.board.hub(Kind.ADVANCE, at) or ctx.board.hub(Kind.SKIP, at)
        retry = ctx.board.hub(Kind.RETRY, at)
        if over is not None or retry is None:
            return Try(member, t, attempt, at, scale, pinned, opened, over)
        attempt, scale, opened = attempt + 1, int(retry.body.get("scale", scale)), retry.received


def retry(ctx: Context, out: Draft, current: Try, reason: RetryReason, scale: int | None = None) -> None:
    """Start the next try; when there is none left, skip a t whose survivor set is pinned, else fail the
    round.
    """
    if current.attempt < MAX_TRIES:
        body = {"reason": reason.value, "scale": scale if scale is not None else current.scale}
        out.decide(current.at, Kind.RETRY, body)
    elif current.pinned is not None:
        skip(out, current)
    else:
        out.fail(
            RoundReason.TRIES_EXHAUSTED,
            f"{current.member} t={current.t}: {MAX_TRIES} tries failed, the last one with {reason.value}",
        )


def skip(out: Draft, current: Try) -> None:
    """Keep the model of t-1: the survivor set is burnt and cannot be had again."""
    out.decide(current.at, Kind.SKIP, {"reason": SkipReason.SURVIVOR_SET_BURNT.value})
