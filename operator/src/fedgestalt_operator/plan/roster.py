"""Who takes part: the silos of the frozen computation, and the roster of an enrolment attempt."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import rfc8785

from ..api.reasons import RoundReason
from ..api.round import MUTABLE, FederationRound, Operation
from .context import Context, Draft
from .kinds import Kind
from .quorum import need
from .suspension import resume_wait
from .types import SiloState, Wait

_PATIENCE: Final = 2


def step_acceptance(ctx: Context, out: Draft) -> None:
    """Pending: freeze the computation once every silo is registered and accepted, or fail at the start
    deadline.
    """
    since = ctx.round.metadata.created
    if ctx.round.operation is not Operation.TRAIN:
        out.fail(
            RoundReason.UNSUPPORTED_OPERATION,
            f"operation {ctx.round.operation.value} is not available in this version; "
            "create a round with operation Train",
        )
        return
    names, absent = resolve(ctx.round, ctx.observed.silos)
    if ctx.round.suspend:
        out.waits.append(resume_wait(since))
        return
    if not absent:
        blob = freeze(ctx.round, {name: ctx.observed.silos[name] for name in names})
        out.decide((0, "", 0, 0), Kind.COMPUTATION, {"digest": hashlib.sha256(blob).digest()}, [blob])
        return
    if absent and ctx.clock.due(since, ctx.round.deadlines.start):
        out.fail(
            RoundReason.SILOS_NOT_ACCEPTED, f"not registered and accepted at the hub: {', '.join(absent)}"
        )
        return
    until = ctx.clock.until(since, ctx.round.deadlines.start)
    then = f"Failed: {RoundReason.SILOS_NOT_ACCEPTED}"
    out.waits.extend(Wait(who, "be registered and accepted", since, until, then) for who in absent)


def resolve(
    round: FederationRound, silos: Mapping[str, SiloState]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The silos of a round, sorted, and what is absent before it can be accepted (empty when nothing is)."""
    if round.silos:
        return round.silos, tuple(n for n in round.silos if not _ready(silos.get(n)))
    names = tuple(
        sorted(n for n, s in silos.items() if _ready(s) and round.selector.items() <= dict(s.labels).items())
    )
    short = round.quorum.min_silos - len(names)
    return names, (f"{short} more silo(s) with the labels of siloSelector",) if short > 0 else ()


def freeze(round: FederationRound, silos: Mapping[str, SiloState]) -> bytes:
    """The frozen computation as canonical JSON (RFC 8785): everything later is bound to its SHA-256.

    `silos` maps names to Ed25519 identity keys (hexadecimal). `spec` is the round's spec without what may
    still change. Every Train round begins a new epoch.
    """
    spec = {k: v for k, v in round.spec.items() if k not in (*MUTABLE, "silos", "siloSelector")}
    computation: dict[str, Any] = {
        "v": 1,
        "round": round.metadata.uid,
        "name": round.metadata.name,
        "silos": {name: state.identity for name, state in silos.items()},
        "quorum": dict(round.spec["quorum"]),
        "newEpoch": round.operation is not Operation.ADOPT,
        "spec": spec,
    }
    return rfc8785.dumps(computation)


def step_roster(ctx: Context, out: Draft, started: float) -> None:
    """Enrolling, roster open: close it when all have enrolled, or at the start deadline with the needed
    number.
    """
    needed = need(len(ctx.invited), ctx.round.quorum.min_silos)
    welcome = _welcome(ctx, needed)
    enrolled = tuple(silo for silo in _enrolled(ctx) if silo in welcome)
    missing = [silo for silo in welcome if silo not in enrolled]
    due = ctx.clock.due(started, ctx.round.deadlines.start)
    if ctx.round.suspend:
        out.waits.append(resume_wait(started))
        return
    if not missing or (due and len(enrolled) >= needed):
        out.decide(ctx.at, Kind.ROSTER, {"silos": list(enrolled)})
        return
    if due:
        out.fail(
            RoundReason.QUORUM_NOT_REACHED,
            f"{len(enrolled)} of {len(ctx.invited)} silos enrolled, {needed} are needed; "
            f"missing: {', '.join(_with_fault(ctx, silo) for silo in missing)}",
        )
        return
    until = None if ctx.clock.suspended else ctx.clock.until(started, ctx.round.deadlines.start)
    then = "go on without it" if len(enrolled) >= needed else f"Failed: {RoundReason.QUORUM_NOT_REACHED}"
    out.waits.extend(Wait(silo, f"enrol{_fault(ctx, silo)}", started, until, then) for silo in missing)


def _ready(state: SiloState | None) -> bool:
    return state is not None and state.accepted and bool(state.identity)


def _welcome(ctx: Context, needed: int) -> tuple[str, ...]:
    """Invited silos without those that undid an enrolment twice, as long as enough others remain.

    Otherwise one silo that cannot get through, for whatever reason, would use up everyone's attempts.
    """
    blamed = Counter(silo for void in ctx.board.anywhere(Kind.VOID) for silo in void.body["lost"])
    others = tuple(silo for silo in ctx.invited if blamed[silo] < _PATIENCE)
    return others if len(others) >= needed else ctx.invited


def _enrolled(ctx: Context) -> tuple[str, ...]:
    """Invited silos that enrolled and have not declined since."""
    faults = {f.sender: f.seq for f in ctx.board.faults(ctx.enrolment)}
    entries = ctx.board.silos(Kind.ENROL, ctx.at)
    return tuple(s for s in ctx.invited if s in entries and entries[s].seq > faults.get(s, -1))


def _fault(ctx: Context, silo: str) -> str:
    reasons = [f.body.get("reason", "fault") for f in ctx.board.faults(ctx.enrolment) if f.sender == silo]
    return f" ({reasons[-1]})" if reasons else ""


def _with_fault(ctx: Context, silo: str) -> str:
    return silo + _fault(ctx, silo)
