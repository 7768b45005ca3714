"""Which facts that are not on the board would explain a recorded decision. Few, and never against the board."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ..api.reasons import FaultReason, RetryReason, RoundReason, VoidReason
from ..plan.attempts import MAX_RESTARTS, MAX_TRIES
from ..plan.board_file import BoardRecord, plain
from ..plan.deadlines import LOST_AFTER
from ..plan.kinds import RESUMED, SUSPENDED, Kind
from ..plan.names import aggregate_name, kernel_name
from ..plan.types import Entry, JobPhase, JobState, Pending, Plan
from .facts import Facts, last_heard, silent_or_barred
from .reasons import LINK_LOST, NOT_ACCEPTED

_REASON: Final = re.compile(r"\((\w+)\)$")
_JOB: Final = re.compile(r"\((fg-[-a-z0-9]+)-(\d)\)")
_SUM: Final = re.compile(r"(\S+) t=(\d+): \d+ tries failed, the last one with (JobFailed|JobNotStarted)")
_MORE: Final = re.compile(r"(\d+) more silo\(s\)")


def required(record: BoardRecord, made: Entry, prefix: Sequence[Entry], now: float) -> Facts:
    """The facts that the decision itself states: a Job's result, a wish, who was lost."""
    body, uid = made.body, record.round.metadata.uid
    at = (uid, made.member, made.t, made.attempt, made.enrolment)
    match made.kind:
        case Kind.COMPUTATION:
            return Facts(registry=True)
        case Kind.AGGREGATE:
            return Facts(jobs={aggregate_name(*at, 0): _succeeded({"digest": plain(body["digest"])["$hex"]})})
        case Kind.RANKINGS:
            owners = {silo: plain(digest)["$hex"] for silo, digest in body["owners"].items()}
            refused = dict.fromkeys(sorted(_closed(made, prefix) - owners.keys()), "")
            result = {"owners": owners, "refused": refused}
            return Facts(jobs={kernel_name(uid, made.enrolment, 0): _succeeded(result)})
        case Kind.RETRY if body.get("reason") == RetryReason.JOB_FAILED:
            return Facts(jobs=_all_failed(record, made))
        case Kind.RETRY if body.get("reason") == RetryReason.JOB_NOT_STARTED:
            at = (uid, made.member, made.t, made.attempt, made.enrolment)
            return Facts(jobs={aggregate_name(*at, MAX_RESTARTS): _stuck()})
        case Kind.STAGE if made.member in (SUSPENDED, RESUMED) and record.round.metadata.generation > 1:
            return Facts(suspend=made.member == SUSPENDED)
        case Kind.VOID if body.get("reason") == VoidReason.SILO_LOST:
            return silent_or_barred(body["lost"], prefix, now)
        case Kind.FAILED:
            return _of_failure(record, made, prefix, now)
        case _:
            return Facts()


def hypotheses(
    record: BoardRecord, made: Entry, prefix: Sequence[Entry], now: float, given: Facts, expected: Plan
) -> Iterator[Facts]:
    """Facts that might explain the decision, those that assume least first.

    Args:
        given: what `required` says.
        expected: the plan under `given`, which did not contain the decision.
    """
    presences = list(_presences(record, made, prefix, now, expected))
    late = _late(made, prefix)
    wishes = list(_wishes(record, made, given))
    yield from (
        replace(given, silent=given.silent | p.silent, barred=given.barred | p.barred) for p in presences
    )
    if late:
        yield replace(given, incomplete=late)
    if made.kind == Kind.SKIP and made.attempt == MAX_TRIES:
        yield replace(given, jobs=_all_failed(record, made))
    yield from wishes
    if late:
        yield from (replace(p, jobs=given.jobs, incomplete=late) for p in presences)
    for wish in wishes:
        yield from (replace(wish, silent=p.silent, barred=p.barred) for p in presences)


def quiet(record: BoardRecord, prefix: Sequence[Entry], now: float) -> frozenset[str]:
    """Silos that said nothing on the board for so long that they may have been lost."""
    heard = last_heard(prefix)
    return frozenset(s for s in _silos(record) if now - heard.get(s, 0.0) > LOST_AFTER)


def _presences(
    record: BoardRecord, made: Entry, prefix: Sequence[Entry], now: float, expected: Plan
) -> Iterator[Facts]:
    silos, heard = _silos(record), last_heard(prefix)
    where = f"{made.member} t={made.t}" if made.t else ""
    waited = {w["who"] for w in expected.status.get("waitingFor", ()) if where in w["what"]} & silos
    chosen = made.body.get("silos", made.body.get("signers"))
    sets: list[Iterable[str]] = [waited]
    if chosen is not None:
        sets.append(silos - set(chosen))
    sets.append(quiet(record, prefix, now))
    sets += [{silo} for silo in sorted(silos, key=lambda s: (heard.get(s, 0.0), s))]
    seen = set()
    for candidate in map(frozenset, sets):
        if candidate and candidate not in seen:
            seen.add(candidate)
            yield silent_or_barred(candidate, prefix, now)


def _closed(made: Entry, prefix: Sequence[Entry]) -> frozenset[str]:
    """Silos whose rows the kernel was given in the enrolment of a decision."""
    found = (e for e in prefix if e.kind == Kind.ROWS_CLOSED and e.enrolment == made.enrolment)
    return frozenset(silo for e in found for silo in e.body["silos"])


def _late(made: Entry, prefix: Sequence[Entry]) -> frozenset[str]:
    """Silos that had announced blobs and were left out all the same."""
    announced = {Kind.SURVIVORS: Kind.MASKED, Kind.ROWS_CLOSED: Kind.ROWS}.get(Kind(made.kind))
    if announced is None:
        return frozenset()
    at = (made.enrolment, made.member, made.t, made.attempt)
    said = {e.sender for e in prefix if e.kind == announced and (e.enrolment, e.member, e.t, e.attempt) == at}
    return frozenset(said - set(made.body["silos"]))


def _wishes(record: BoardRecord, made: Entry, given: Facts) -> Iterator[Facts]:
    """What the coordinator may have wished otherwise then; a spec of generation 1 has never been another."""
    if record.round.metadata.generation <= 1:
        return
    for suspend in (True, False):
        if given.suspend is None:
            yield replace(given, suspend=suspend)
    yield replace(given, start_due=True)
    yield replace(given, active_due=True)


def _of_failure(record: BoardRecord, made: Entry, prefix: Sequence[Entry], now: float) -> Facts:
    """What the message of `failed` says of silos, tasks and Jobs."""
    message, reason, uid = str(made.body["message"]), made.body["reason"], record.round.metadata.uid
    silos = _silos(record)
    named = frozenset(s for s in silos if re.search(rf"(?<![\w-]){re.escape(s)}(?![\w-])", message))
    more = _MORE.search(message)
    match reason:
        case RoundReason.SILOS_NOT_ACCEPTED if more is not None:
            return Facts(strangers=max(0, record.round.quorum.min_silos - int(more[1])))
        case RoundReason.SILOS_NOT_ACCEPTED:
            return Facts(unregistered=named)
        case RoundReason.BASE_UNKNOWN:
            return Facts(base_unknown=True)
        case RoundReason.VOCABULARY_UNKNOWN:
            return Facts(vocabulary_unknown=True)
        case RoundReason.PEER_REFUSED if "its grant does not fit" in message:
            return Facts(failed=dict.fromkeys(sorted(named), FaultReason.GRANT_MISMATCH.value))
        case RoundReason.KERNEL_FAILED if "; refused: " in message:
            refused = dict(_refused(message, silos))
            owners = dict.fromkeys(sorted(_closed(made, prefix) - refused.keys()), "0" * 64)
            result = {"owners": owners, "refused": refused}
            return Facts(jobs={kernel_name(uid, made.enrolment, 0): _succeeded(result)})
        case RoundReason.KERNEL_FAILED:
            return Facts(jobs={kernel_name(uid, made.enrolment, r): _FAILED for r in range(MAX_RESTARTS + 1)})
        case RoundReason.KERNEL_NOT_STARTED:
            last = kernel_name(uid, made.enrolment, MAX_RESTARTS)
            return Facts(jobs={last: _stuck(message.partition(": ")[2])})
        case _:
            facts = _of_segments(message, silos, prefix, now)
    jobs = {f"{name}-{r}": _FAILED for name, last in _JOB.findall(message) for r in range(int(last))}
    failing = _SUM.search(message)
    if failing is not None:
        at = (uid, failing[1], int(failing[2]), MAX_TRIES, made.enrolment)
        stuck = failing[3] == RetryReason.JOB_NOT_STARTED
        jobs[aggregate_name(*at, MAX_RESTARTS)] = _stuck() if stuck else _FAILED
    return replace(facts, jobs=jobs)


def _refused(message: str, silos: frozenset[str]) -> list[tuple[str, str]]:
    """`refused: west (this is no upload), south (width 8)`: each silo with the kernel's reason, which may hold commas."""
    name = "|".join(map(re.escape, sorted(silos)))
    return re.findall(rf"({name}) \((.*?)\)(?=, (?:{name}) \(|$)", message.partition("; refused: ")[2])


def _of_segments(message: str, silos: frozenset[str], prefix: Sequence[Entry], now: float) -> Facts:
    """`west (OutOfMemory), south: upload m0 t=1 (LinkLost)`: each silo with its reason, unless the board has it."""
    faults = {(e.sender, e.body.get("reason")) for e in prefix if e.kind == Kind.FAULT}
    silent: set[str] = set()
    barred: set[str] = set()
    failed: dict[str, str] = {}
    for segment in message.split(", "):
        reason = _REASON.search(segment)
        words = re.findall(r"[-\w]+", segment)
        silo = next((w for w in words if w in silos), None)
        if reason is None or silo is None or (silo, reason[1]) in faults:
            continue
        if reason[1] == LINK_LOST:
            silent.add(silo)
        elif reason[1] == NOT_ACCEPTED:
            barred.add(silo)
        else:
            failed[silo] = reason[1]
    heard = last_heard(prefix)
    contradicted = {s for s in silent if now - heard.get(s, 0.0) <= LOST_AFTER}
    return Facts(silent=frozenset(silent - contradicted), barred=frozenset(barred), failed=failed)


def _silos(record: BoardRecord) -> frozenset[str]:
    known: Iterable[str] = record.round.silos
    if record.computation is not None:
        known = record.computation["silos"]
    return frozenset(known)


def _all_failed(record: BoardRecord, made: Entry) -> dict[str, JobState]:
    """The aggregation Job of a decision's try and its restarts."""
    at = (record.round.metadata.uid, made.member, made.t, made.attempt, made.enrolment)
    return {aggregate_name(*at, restart): _FAILED for restart in range(MAX_RESTARTS + 1)}


def _succeeded(result: Mapping[str, object]) -> JobState:
    return JobState(JobPhase.SUCCEEDED, result)


def _stuck(why: str = "unknown") -> JobState:
    """A Job whose pod has had all its time to start."""
    return JobState(JobPhase.RUNNING, pending=Pending(0.0, why))


_FAILED: Final = JobState(JobPhase.FAILED)
