"""Adopt, once enrolled: every silo of the epoch admits the newcomers, then its keys are sealed to them.

Two steps, so that no key leaves before all have said yes: a hub that stops after the first `admit` gains nothing.

To refuse and to be silent are two things. A refusal is signed, by whoever refuses, and ends the round at once. A silo that
says nothing is waited for as everywhere, for `stragglerTimeout`; since nobody can admit in its place, the quorum is lost then.
"""

from __future__ import annotations

from ..api.reasons import FaultReason, RoundReason
from .context import Context, Draft
from .kinds import ENCODING, Kind
from .waiting import Gathered, gather, state_waits

_LOST = f"Failed: {RoundReason.QUORUM_LOST}"


def refusals(ctx: Context) -> list[str]:
    """Silos of the epoch that refuse this Adopt round over their signature: one is enough to keep newcomers out.

    What a task's status says is not signed: a proxy that opens TLS could write it there.
    """
    faults = ctx.board.faults(ctx.enrolment)
    refused = {f.sender for f in faults if f.body.get("reason") == FaultReason.GRANT_MISMATCH}
    return [silo for silo in ctx.members if silo in refused]


def step_admission(ctx: Context, out: Draft) -> None:
    """Begin Encoding when all members admitted the newcomers and one of them sealed the epoch's keys to them."""
    enrolled = ctx.board.hub(Kind.ENROLLED, ctx.at)
    began = enrolled.received if enrolled is not None else ctx.now
    refusing = refusals(ctx)
    if refusing:
        named, newcomers = ", ".join(refusing), ", ".join(ctx.newcomers)
        out.fail(RoundReason.PEER_REFUSED, f"{newcomers} not admitted by {named}: its grant does not fit")
        return
    excused = ctx.excused(ctx.at)
    admits = gather(
        ctx,
        ctx.board.silos(Kind.ADMIT, ctx.at),
        ctx.members,
        needed=len(ctx.members),
        floor=began,
        excused=excused,
    )
    if not admits.enough:
        _wait(ctx, out, admits, "admit the newcomers", began)
        return
    floor = max(entry.received for entry in admits.arrived.values())
    sealed = gather(
        ctx, ctx.board.silos(Kind.WELCOME, ctx.at), ctx.members, needed=1, floor=floor, excused=excused
    )
    if sealed.enough:
        out.decide((ctx.enrolment, ENCODING, 0, 0), Kind.STAGE, {})
    else:
        _wait(ctx, out, sealed, "seal the epoch's keys", floor)


def _wait(ctx: Context, out: Draft, gathered: Gathered, what: str, began: float) -> None:
    """Until the straggler timeout; less long for silos that said that they cannot."""
    if not (gathered.hopeless or gathered.timed_out):
        state_waits(ctx, out, gathered, what, began, then=_LOST)
        return
    said = {f.sender: str(f.body.get("reason", "fault")) for f in ctx.board.faults(ctx.enrolment)}
    named = ", ".join(
        f"{silo} ({said.get(silo, 'silent' if ctx.live(silo) else 'LinkLost')})" for silo in gathered.missing
    )
    out.fail(RoundReason.QUORUM_LOST, f"nobody can {what} in the place of {named}")
