"""Strings for `kubectl get fround`: printer columns cannot compute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ..api.round import Operation, Phase
from .context import Context
from .kinds import Kind
from .quorum import need
from .releases import agreed_table
from .training import member_progress
from .types import Wait

WIDTH: Final = 40
"""Characters of what is waited for: with who it is for, the whole line fits into a terminal of usual width."""


def summary_of(ctx: Context, phase: Phase, waits: Sequence[Wait]) -> dict[str, str]:
    """The strings of a round in `phase` that waits for `waits`, the most urgent one first."""
    taking_part = ctx.roster or ctx.invited
    live = sum(ctx.live(silo) and silo not in ctx.out for silo in taking_part)
    over = phase in (Phase.SUCCEEDED, Phase.FAILED)
    summary = {
        "silos": f"{len(taking_part) if over else live}/{len(taking_part)}" if taking_part else "",
        "need": _need(ctx),
        "progress": _progress(ctx, phase),
        "waiting": "",
        "until": "",
    }
    if waits:
        more = f" (+{len(waits) - 1})" if len(waits) > 1 else ""
        summary["waiting"] = f"{waits[0].who}: {shortened(waits[0].what)}{more}"
        if waits[0].until is not None:
            summary["until"] = _clock(waits[0].until, ctx.now)
    return summary


def _need(ctx: Context) -> str:
    """Silos with which the round goes on: of its roster, and of those invited until there is one."""
    if ctx.roster:
        return str(ctx.need)
    if not ctx.invited:
        return ""
    needed = need(len(ctx.invited), ctx.round.quorum.min_silos)
    if ctx.round.operation is Operation.ADOPT:
        needed = max(needed, len(ctx.members) + 1)
    return str(needed)


def shortened(what: str) -> str:
    """What fits into a column; the whole stands in waitingFor: a Job without its name, a cause without its details."""
    rest, parenthesis, _ = what.rpartition(" (fg-")
    what = rest if parenthesis else what
    if len(what) <= WIDTH:
        return what
    start, colon, _ = what[: WIDTH + 1].rpartition(": ")
    return start if colon else f"{what[: WIDTH - 3]}..."


def _clock(moment: float, now: float) -> str:
    """A time for the coordinator's eyes, `14:32Z`, with the day where it is not today: `Nov 25 14:32Z`."""
    then = datetime.fromtimestamp(moment, UTC)
    today = datetime.fromtimestamp(now, UTC).date() == then.date()
    return then.strftime("%H:%MZ" if today else "%b %d %H:%MZ")


def _progress(ctx: Context, phase: Phase) -> str:
    """What a coordinator wants to see first in each phase: `r50 3/10`, `enrolment 2`, `rows 3/4`."""
    roster = ctx.roster
    match phase:
        case Phase.ENROLLING:
            return f"enrolment {ctx.enrolment}"
        case Phase.TRAINING:
            for name in ctx.round.trainable:
                progress = member_progress(ctx, name)
                if progress.done < progress.rounds:
                    return f"{name} {progress.done}/{progress.rounds}"
            return ""
        case Phase.ENCODING:
            return f"rows {len(ctx.board.silos(Kind.ROWS, ctx.at))}/{len(roster)}"
        case Phase.MATCHING:
            ranked = ctx.board.hub(Kind.RANKINGS, ctx.at) is not None
            return f"scores {len(agreed_table(ctx)[1])}/{len(roster)}" if ranked else "kernel"
        case Phase.RELEASING:
            return f"signed {len(ctx.board.silos(Kind.SIGN, ctx.at))}/{len(roster)}"
        case _:
            return ""
