"""Adopt, once enrolled: every silo of the epoch admits the newcomers, then its keys are sealed to them.

Two steps, so that no key leaves before all have said yes: a hub that stops after the first `admit` gains nothing.
"""

from __future__ import annotations

from ..api.reasons import FaultReason, RoundReason
from .context import Context, Draft
from .kinds import ENCODING, Kind
from .waiting import gather, state_waits


def step_admission(ctx: Context, out: Draft) -> None:
    """Begin Encoding when all members admitted the newcomers and one of them sealed the epoch's keys to them."""
    enrolled = ctx.board.hub(Kind.ENROLLED, ctx.at)
    began = enrolled.received if enrolled is not None else ctx.now
    refused = [
        fault.sender
        for fault in ctx.board.faults(ctx.enrolment)
        if fault.sender in ctx.members and fault.body.get("reason") == FaultReason.GRANT_MISMATCH
    ]
    admits = gather(
        ctx, ctx.board.silos(Kind.ADMIT, ctx.at), ctx.members, needed=len(ctx.members), floor=began
    )
    if refused or (admits.missing and admits.timed_out):
        named = ", ".join(sorted(refused) or admits.missing)
        out.fail(RoundReason.PEER_REFUSED, f"{', '.join(ctx.newcomers)} not admitted by {named}")
        return
    if admits.missing:
        state_waits(
            ctx, out, admits, "admit the newcomers", began, then=f"Failed: {RoundReason.PEER_REFUSED}"
        )
        return
    floor = max(entry.received for entry in admits.arrived.values())
    sealed = gather(ctx, ctx.board.silos(Kind.WELCOME, ctx.at), ctx.members, needed=1, floor=floor)
    if sealed.enough:
        out.decide((ctx.enrolment, ENCODING, 0, 0), Kind.STAGE, {})
    elif sealed.timed_out:
        out.fail(
            RoundReason.PEER_REFUSED,
            "all silos admitted the newcomers, but none sealed the epoch's keys to them",
        )
    else:
        failed = f"Failed: {RoundReason.PEER_REFUSED}"
        state_waits(ctx, out, sealed, "seal the epoch's keys", floor, then=failed)
