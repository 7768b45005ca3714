"""What changed between two statuses of an object, said once for logs, Events and metrics alike. Pure.

What a status shows is read from the statuses, so that a process that was killed between a decision and the status
still reports it. Retries and voids stand in no status; `of_decisions` reads them from what was posted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ..api import reasons
from ..api.conditions import ConditionType, ReleaseCondition, Truth
from ..api.round import Phase
from ..plan.kinds import Kind
from ..plan.types import Decision
from .subject import Resource

Status = Mapping[str, Any]

OTHER: Final = "Other"
"""Stands in a metric's label for a reason that no enum knows: a peer's text never becomes a time series."""


class TransitionKind(StrEnum):
    """What kind of change it was."""

    PHASE = "phase"
    CONDITION = "condition"
    SILO = "silo"
    TASK = "task"
    ENROLMENT = "enrolment"
    ROUND = "round"
    RELEASE = "release"


class TransitionReason(StrEnum):
    """Reasons of changes that no condition names. The others are those of `api.reasons`."""

    PHASE_CHANGED = "PhaseChanged"
    SILO_LOST = "SiloLost"
    SILO_BACK = "SiloBack"
    SILO_FAULT = "SiloFault"
    MODEL_DIFFERS = "ModelDiffers"
    TASK_FAILED = "TaskFailed"
    ENROLMENT_STARTED = "EnrolmentStarted"
    ENROLMENT_VOIDED = "EnrolmentVoided"
    TRY_REPEATED = "TryRepeated"
    PROMOTED = "Promoted"


class Severity(StrEnum):
    """As Kubernetes writes an Event's type."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Transition:
    """One change. `reason` is CamelCase; `silo`, `member`, `t` and `phase` are given where they apply."""

    kind: TransitionKind
    reason: str
    message: str
    severity: Severity = Severity.NORMAL
    phase: str = ""
    silo: str = ""
    member: str = ""
    t: int | None = None


# True is the bad state of these; of all other conditions it is the good one.
_TRUE_IS_BAD: Final = frozenset({ReleaseCondition.ROTATION_DUE.value})
_NEUTRAL: Final = frozenset({ConditionType.SUSPENDED.value})
# A new object starts with these: nothing has happened.
_NOTHING_YET: Final = frozenset(
    {reasons.SuspendedReason.NOT_REQUESTED.value, reasons.RotationReason.NOT_DUE.value}
)
# A step of every change of an endpoint's release; one that fails says LoadFailed.
_STARTING: Final = frozenset(
    {
        reasons.LoadedReason.LOADING.value,
        reasons.ReadyReason.NOT_LOADED.value,
        reasons.ReadyReason.WRONG_RELEASE.value,
    }
)
_KNOWN: Final = frozenset(
    member.value
    for enum in (*vars(reasons).values(), TransitionReason)
    if isinstance(enum, type) and issubclass(enum, StrEnum)
    for member in enum
)


def bounded(reason: str) -> str:
    """`reason` if it is of a closed enum, else "Other": for labels of metrics."""
    return reason if reason in _KNOWN else OTHER


def of_status(kind: Resource, old: Status | None, new: Status) -> list[Transition]:
    """Changes from status `old` (None: there was none) to `new` of an object of `kind`, in a fixed order."""
    before = old or {}
    found = list(_phase(kind, before, new))
    quiet = {ConditionType.SUCCEEDED.value} if found else set[str]()
    found += _conditions(before, new, quiet)
    if kind is Resource.FEDERATION_ROUND:
        found += [*_silos(before, new), *_enrolment(before, new), *_skips(before, new)]
    if kind is Resource.INFERENCE_ENDPOINT:
        found += _promotion(before, new)
    return found


def of_decisions(decisions: Iterable[Decision]) -> list[Transition]:
    """Voids and retries among the decisions that were posted: what no status tells."""
    found = []
    for decision in decisions:
        reason = str(decision.body.get("reason", ""))
        where = f"{decision.member} t={decision.t}"
        if decision.kind == Kind.VOID:
            lost = ", ".join(str(silo) for silo in decision.body.get("lost", ())) or "no silo in particular"
            text = f"enrolment {decision.enrolment} is void because of {lost}; a fresh one follows"
            found.append(
                Transition(
                    TransitionKind.ENROLMENT,
                    reason or TransitionReason.ENROLMENT_VOIDED.value,
                    text,
                    Severity.WARNING,
                )
            )
        elif decision.kind == Kind.RETRY:
            text = f"try {decision.attempt} of {where} is given up; another one follows"
            found.append(
                Transition(
                    TransitionKind.ROUND,
                    reason or TransitionReason.TRY_REPEATED.value,
                    text,
                    Severity.WARNING,
                    member=decision.member,
                    t=decision.t,
                )
            )
    return found


def _phase(kind: Resource, old: Status, new: Status) -> Iterator[Transition]:
    before, after = str(old.get("phase", "")), str(new.get("phase", ""))
    if not after or before == after:
        return
    summary = _by(new, "conditions", "type").get(ConditionType.SUCCEEDED.value, {})
    reason = str(new.get("reason") or summary.get("reason") or TransitionReason.PHASE_CHANGED.value)
    said = str(new.get("message") or summary.get("message") or "")
    text = f"{before} to {after}" if before else after
    yield Transition(
        TransitionKind.TASK if kind is Resource.SILO_TASK else TransitionKind.PHASE,
        reason,
        f"{text}: {said}" if said else text,
        Severity.WARNING if after == Phase.FAILED else Severity.NORMAL,
        phase=after,
    )


def _conditions(old: Status, new: Status, quiet: set[str]) -> Iterator[Transition]:
    before = _by(old, "conditions", "type")
    for name, condition in _by(new, "conditions", "type").items():
        last = before.get(name)
        told = (condition["status"], condition["reason"])
        if name in quiet or (last is not None and (last["status"], last["reason"]) == told):
            continue
        if last is None and condition["reason"] in _NOTHING_YET:
            continue
        text = f"{name} is {condition['status']}"
        said = condition.get("message", "")
        yield Transition(
            TransitionKind.CONDITION,
            str(condition["reason"]),
            f"{text}: {said}" if said else text,
            _severity(name, str(condition["status"]), str(condition["reason"])),
            phase=str(new.get("phase", "")),
        )


def _severity(condition: str, status: str, reason: str) -> Severity:
    bad = Truth.TRUE if condition in _TRUE_IS_BAD else Truth.FALSE
    unexpected = condition not in _NEUTRAL and reason not in _STARTING
    return Severity.WARNING if status == bad and unexpected else Severity.NORMAL


def _silos(old: Status, new: Status) -> Iterator[Transition]:
    """Silos of a round: lost and back, faults, failed tasks, models that differ."""
    before, phase = _by(old, "silos", "name"), str(new.get("phase", ""))

    def told(silo: str, kind: TransitionKind, reason: str, message: str, *, bad: bool = True) -> Transition:
        severity = Severity.WARNING if bad else Severity.NORMAL
        return Transition(kind, reason, message, severity, phase=phase, silo=silo)

    for name, now in _by(new, "silos", "name").items():
        last = before.get(name, {})
        task, past = now.get("task", {}), last.get("task", {})
        failed = task.get("phase") == "Failed"
        if failed and past.get("phase") != "Failed":
            reason = task.get("reason") or TransitionReason.TASK_FAILED.value
            yield told(name, TransitionKind.TASK, reason, f"the task of {name} failed")
        # A failed task makes a silo count as absent too: that has been said.
        if last.get("connected") and not now.get("connected") and not failed:
            yield told(name, TransitionKind.SILO, TransitionReason.SILO_LOST.value, f"{name} is silent")
        elif last.get("connected") is False and now.get("connected"):
            yield told(
                name, TransitionKind.SILO, TransitionReason.SILO_BACK.value, f"{name} is back", bad=False
            )
        fault = now.get("fault", "")
        said = failed and past.get("phase") != "Failed" and fault == task.get("reason")
        if fault and fault != last.get("fault") and not said:
            refused = fault == reasons.RowsReason.ROWS_REFUSED
            message = f"the kernel refused the rows of {name}" if refused else f"{name} reported a fault"
            yield told(name, TransitionKind.SILO, fault, message)
        differs = now.get("differs", "")
        if differs and differs != last.get("differs"):
            reason = TransitionReason.MODEL_DIFFERS.value
            yield told(name, TransitionKind.SILO, reason, f"{name} has another {differs} than the quorum")


def _enrolment(old: Status, new: Status) -> Iterator[Transition]:
    before, after = int(old.get("enrolment", 0)), int(new.get("enrolment", 0))
    if after > before:
        reason = TransitionReason.ENROLMENT_STARTED.value
        yield Transition(
            TransitionKind.ENROLMENT, reason, f"enrolment {after} begins", phase=str(new["phase"])
        )


def _skips(old: Status, new: Status) -> Iterator[Transition]:
    before = _by(old, "members", "name")
    for name, member in _by(new, "members", "name").items():
        known = set(before.get(name, {}).get("skipped", ()))
        for t in member.get("skipped", ()):
            if t not in known:
                yield Transition(
                    TransitionKind.ROUND,
                    reasons.SkipReason.SURVIVOR_SET_BURNT.value,
                    f"{name} t={t} is skipped: the model stays that of the communication round before",
                    Severity.WARNING,
                    phase=str(new.get("phase", "")),
                    member=name,
                    t=int(t),
                )


def _promotion(old: Status, new: Status) -> Iterator[Transition]:
    """An endpoint's release in service, and why it does not serve a newer one."""
    served = str(new.get("release", ""))
    if served and served != old.get("release"):
        yield Transition(
            TransitionKind.RELEASE, TransitionReason.PROMOTED.value, f"release {served[:19]} is in service"
        )
    candidate, last = new.get("candidate", {}), old.get("candidate", {})
    told = (candidate.get("release"), candidate.get("reason"))
    if candidate and told != (last.get("release"), last.get("reason")):
        measured = f", top-5 {candidate['top5']}" if candidate.get("top5") else ""
        text = f"release {str(candidate['release'])[:19]} is not in service{measured}"
        yield Transition(TransitionKind.RELEASE, str(candidate["reason"]), text)


def _by(status: Status, field: str, key: str) -> dict[str, Mapping[str, Any]]:
    return {str(entry[key]): entry for entry in status.get(field, ())}
