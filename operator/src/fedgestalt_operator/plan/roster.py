"""Who takes part: the silos of the frozen computation, and the roster of an enrolment attempt."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import rfc8785

from ..api.reasons import RoundReason
from ..api.round import MUTABLE, FederationRound, Operation
from ..api.task import TaskPhase
from .admission import refusals
from .context import Context, Draft
from .kinds import Kind
from .quorum import need
from .suspension import resume_wait
from .types import BaseRelease, SiloState, Wait

_PATIENCE: Final = 2


def step_acceptance(ctx: Context, out: Draft) -> None:
    """Pending: freeze the computation once every silo is registered and accepted, or fail at the start
    deadline.
    """
    since = ctx.round.metadata.created
    names, absent = resolve(ctx.round, ctx.observed.silos)
    wanted, base = ctx.round.spec.get("base"), ctx.observed.base
    if wanted is not None and base is None and ctx.clock.due(since, ctx.round.deadlines.start):
        out.fail(
            RoundReason.BASE_UNKNOWN,
            f"the hub has no release {wanted['digest']}; `fedgestalt release list` names those it has",
        )
        return
    if ctx.round.suspend:
        out.waits.append(resume_wait(since))
        return
    if wanted is not None and base is None:
        until = ctx.clock.until(since, ctx.round.deadlines.start)
        what = f"have release {wanted['digest']}"
        out.waits.append(Wait("hub", what, since, until, f"Failed: {RoundReason.BASE_UNKNOWN}"))
        return
    if not ctx.observed.vocabulary:
        named = ctx.round.spec.get("vocabulary")
        what = (
            f"have vocabulary {named['name']} with digest {named['digest']}"
            if named
            else "have its base's vocabulary"
        )
        if ctx.clock.due(since, ctx.round.deadlines.start):
            out.fail(RoundReason.VOCABULARY_UNKNOWN, f"the hub does not {what}; create the ConfigMap")
            return
        until = ctx.clock.until(since, ctx.round.deadlines.start)
        out.waits.append(Wait("coordinator", what, since, until, f"Failed: {RoundReason.VOCABULARY_UNKNOWN}"))
        return
    if not absent:
        mismatch = base_mismatch(ctx.round.operation, names, base) if base is not None else ""
        if mismatch:
            out.fail(RoundReason.BASE_MISMATCH, mismatch)
            return
        blob = freeze(ctx.round, {name: ctx.observed.silos[name] for name in names}, base)
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


def base_mismatch(operation: Operation, silos: Sequence[str], base: BaseRelease) -> str:
    """Why these silos cannot do `operation` on a release; empty when they can.

    Only the silos of its epoch hold its weights and keys. Adopt needs all of them, for each must admit the newcomers;
    Rotate and Train go on with some of them.
    """
    strangers = [silo for silo in silos if silo not in base.silos]
    absent = [silo for silo in base.silos if silo not in silos]
    if operation is Operation.ADOPT:
        if base.successor:
            return f"release {base.successor[:12]} takes its place; adopt that one"
        if absent:
            return f"Adopt needs every silo of the release's epoch; add to spec.silos: {', '.join(absent)}"
        return (
            ""
            if strangers
            else "Adopt needs a newcomer: all of spec.silos are of the release's epoch already"
        )
    if strangers:
        return f"not of the release's epoch: {', '.join(strangers)}; let them adopt the release first"
    return ""


def freeze(round: FederationRound, silos: Mapping[str, SiloState], base: BaseRelease | None = None) -> bytes:
    """The frozen computation as canonical JSON (RFC 8785): everything later is bound to its SHA-256.

    `silos` maps names to Ed25519 identity keys (hexadecimal). `spec` is the round's spec without what may
    still change; what it leaves open (Adopt and Rotate have no training section) is as in the base's. Every Train and
    Rotate round begins a new epoch.
    """
    spec = {k: v for k, v in round.spec.items() if k not in (*MUTABLE, "silos", "siloSelector")}
    if base is not None:
        for inherited in ("training", "vocabulary", "kernel"):
            if inherited not in spec and inherited in base.computation["spec"]:
                spec[inherited] = base.computation["spec"][inherited]
    computation: dict[str, Any] = {
        "v": 1,
        "round": round.metadata.uid,
        "name": round.metadata.name,
        "silos": {name: state.identity for name, state in silos.items()},
        "quorum": dict(round.spec["quorum"]),
        "newEpoch": round.operation is not Operation.ADOPT,
        "spec": spec,
    }
    if base is not None:
        computation["base"] = {"digest": base.digest, "epoch": base.epoch, "silos": list(base.silos)}
    return rfc8785.dumps(computation)


def step_roster(ctx: Context, out: Draft, started: float) -> None:
    """Enrolling, roster open: close it when all have enrolled, or at the start deadline with the needed
    number.
    """
    needed = need(len(ctx.invited), ctx.round.quorum.min_silos)
    welcome = _welcome(ctx, needed)
    enrolled = tuple(silo for silo in _enrolled(ctx) if silo in welcome)
    missing = [silo for silo in welcome if silo not in enrolled]
    if ctx.round.operation is Operation.ADOPT:
        needed = max(needed, len(ctx.members) + 1)
        refusing = refusals(ctx)
        if refusing:
            out.fail(
                RoundReason.PEER_REFUSED, f"not admitted by {', '.join(refusing)}: its grant does not fit"
            )
            return
    due = ctx.clock.due(started, ctx.round.deadlines.start)
    if ctx.round.suspend:
        out.waits.append(resume_wait(started))
        return
    required = set(ctx.members) if ctx.round.operation is Operation.ADOPT else set[str]()
    complete = required <= set(enrolled)
    if not missing or (due and len(enrolled) >= needed and complete):
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
    failed, go_on = f"Failed: {RoundReason.QUORUM_NOT_REACHED}", "go on without it"
    for silo in missing:
        then = go_on if len(enrolled) >= needed and silo not in required else failed
        out.waits.append(Wait(silo, f"enrol{_fault(ctx, silo)}", started, until, then))


def _ready(state: SiloState | None) -> bool:
    return state is not None and state.accepted and bool(state.identity)


def _welcome(ctx: Context, needed: int) -> tuple[str, ...]:
    """Invited silos without those that undid an enrolment twice, as long as enough others remain.

    Otherwise one silo that cannot get through, for whatever reason, would use up everyone's attempts.
    """
    if ctx.round.operation is Operation.ADOPT:
        return ctx.invited
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
    task = ctx.observed.tasks.get(ctx.task(silo))
    if not reasons and task is not None and task.phase in (TaskPhase.FAILED, TaskPhase.PENDING):
        reasons = [task.reason] if task.reason else []
    return f" ({reasons[-1]})" if reasons else ""


def _with_fault(ctx: Context, silo: str) -> str:
    return silo + _fault(ctx, silo)
