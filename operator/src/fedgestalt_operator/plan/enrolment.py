"""Enrolling: endorsements, openings and confirmations of every silo of the roster, or a fresh attempt."""

from __future__ import annotations

from typing import Final

from ..api.reasons import FaultReason, RoundReason, VoidReason
from ..api.task import TaskKind
from .attempts import MAX_ENROLMENTS
from .context import Context, Draft
from .kinds import Kind
from .names import task_name
from .roster import step_roster
from .types import EnsureTask
from .waiting import gather, state_waits

_STEPS: Final = (
    (Kind.ENDORSE, "endorse the roster"),
    (Kind.OPENING, "open its key"),
    (Kind.CONFIRM, "confirm"),
)


def step_enrolment(ctx: Context, out: Draft) -> None:
    """One enrolment attempt up to `enrolled`, or `void` on the loss of any silo of the roster."""
    voids = ctx.board.anywhere(Kind.VOID)
    if ctx.enrolment > MAX_ENROLMENTS:
        reasons = ", ".join(str(v.body.get("reason")) for v in voids)
        out.fail(RoundReason.ENROLMENT_FAILED, f"{MAX_ENROLMENTS} enrolment attempts were void: {reasons}")
        return
    ensure_tasks(ctx, out, TaskKind.ENROL, ctx.invited)
    roster = ctx.board.hub(Kind.ROSTER, ctx.at)
    if roster is None:
        accepted = ctx.board.hub(Kind.COMPUTATION)
        started = voids[-1].received if voids else accepted.received if accepted else ctx.now
        step_roster(ctx, out, started)
        return
    for fault in ctx.board.faults(ctx.enrolment):
        if fault.sender in ctx.roster and fault.seq > roster.seq:
            _void(ctx, out, str(fault.body.get("reason", "fault")), [fault.sender])
            return
    floor = roster.received
    for kind, what in _STEPS:
        entries = ctx.board.silos(kind, ctx.at)
        step = gather(ctx, entries, ctx.roster, needed=len(ctx.roster), floor=floor)
        if step.missing:
            lost = [silo for silo in step.missing if not ctx.live(silo)]
            if lost or step.timed_out:
                reason = VoidReason.SILO_LOST if lost else VoidReason.STRAGGLER_TIMEOUT
                _void(ctx, out, reason.value, lost or list(step.missing))
            else:
                state_waits(ctx, out, step, what, floor, then="a fresh enrolment")
            return
        if kind is Kind.ENDORSE and len({bytes(e.body["h"]) for e in step.arrived.values()}) > 1:
            _void(ctx, out, FaultReason.ENDORSEMENT_MISMATCH.value, [])
            return
        floor = max(e.received for e in step.arrived.values())
    h = ctx.board.silos(Kind.ENDORSE, ctx.at)[ctx.roster[0]].body["h"]
    out.decide(ctx.at, Kind.ENROLLED, {"h": h, "silos": list(ctx.roster)})


def ensure_tasks(ctx: Context, out: Draft, kind: TaskKind, silos: tuple[str, ...]) -> None:
    """Ask for the SiloTasks of a kind that are not there yet."""
    for silo in silos:
        name = task_name(ctx.round.metadata.uid, kind, silo, ctx.enrolment)
        if name not in ctx.observed.tasks:
            out.actions.append(EnsureTask(name, silo, kind, ctx.enrolment, ctx.digest))


def _void(ctx: Context, out: Draft, reason: str, lost: list[str]) -> None:
    out.decide(ctx.at, Kind.VOID, {"reason": reason, "lost": sorted(lost)})
