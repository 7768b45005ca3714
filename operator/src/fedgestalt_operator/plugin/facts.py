"""What a board does not tell, and the planner's inputs for a prefix of it under assumptions about that.

A board holds every message in its order. It does not hold who was connected, how Jobs and sites' tasks stood, what the
coordinator wished at the time, or when a message's blobs were all there. Unless told otherwise, replay takes every
silo as registered, accepted and connected, tasks as running, Jobs as not over, blobs as complete, the spec as it is now,
and the round as suspended where the board says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from ..api.round import MANAGED_BY, Deadlines, FederationRound
from ..api.task import TaskKind, TaskPhase
from ..plan import plan
from ..plan.board import Board
from ..plan.board_file import BoardRecord
from ..plan.deadlines import LOST_AFTER
from ..plan.kinds import HUB, Kind
from ..plan.names import task_name
from ..plan.types import BaseRelease, Entry, JobPhase, JobState, Observed, Plan, SiloState, TaskState

CLOCKS: Final = 1.0
"""Seconds by which the hub's clock and the exchange's may differ in a replay."""


class Need(StrEnum):
    """Kinds of facts that are not on a board."""

    PRESENCE = "presence"
    TASK = "task"
    JOB = "job"
    WISH = "wish"
    REGISTRY = "registry"
    BASE = "base"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Facts:
    """Assumptions beside the usual ones.

    `silent`: not heard for 90 s; `barred`: heard on the board, yet not accepted, or its task had failed; `failed`: silo ->
    reason of its failed task; `suspend`: the wish, None as the board has it; `start_due`, `active_due`: the deadline was
    shorter then; `incomplete`: silos whose blobs were not there yet; `unregistered`: no Silo of that name; `strangers`:
    how many Silos with the selector's labels there were in a round that was never accepted.
    """

    silent: frozenset[str] = frozenset()
    barred: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)
    jobs: Mapping[str, JobState] = field(default_factory=dict)
    suspend: bool | None = None
    start_due: bool = False
    active_due: bool = False
    incomplete: frozenset[str] = frozenset()
    unregistered: frozenset[str] = frozenset()
    strangers: int = 0
    registry: bool = False
    base_unknown: bool = False
    vocabulary_unknown: bool = False

    def stated(self) -> tuple[tuple[Need, str], ...]:
        """The assumptions in words."""

        def names(silos: Iterable[str]) -> str:
            return ", ".join(sorted(silos))

        found = []
        if self.silent:
            found.append((Need.PRESENCE, f"not heard for {LOST_AFTER:.0f} s: {names(self.silent)}"))
        if self.barred:
            found.append((Need.PRESENCE, f"not accepted, or its task had failed: {names(self.barred)}"))
        if self.failed:
            failed = names(f"{silo} ({reason})" for silo, reason in self.failed.items())
            found.append((Need.TASK, f"failed: {failed}"))
        if self.jobs:
            found.append((Need.JOB, _jobs(self.jobs)))
        if self.suspend is not None:
            found.append((Need.WISH, f"spec.suspend was {str(self.suspend).lower()}"))
        if self.start_due:
            found.append((Need.WISH, "spec.deadlines.start was shorter then"))
        if self.active_due:
            found.append((Need.WISH, "spec.deadlines.active was shorter then"))
        if self.incomplete:
            found.append((Need.UPLOAD, f"blobs had not arrived: {names(self.incomplete)}"))
        if self.unregistered:
            found.append((Need.REGISTRY, f"not registered and accepted: {names(self.unregistered)}"))
        if self.registry or self.strangers:
            found.append((Need.REGISTRY, "the silos and their identities were as the decision says"))
        if self.base_unknown:
            found.append((Need.BASE, "the hub did not have the base release"))
        if self.vocabulary_unknown:
            found.append((Need.REGISTRY, "the hub did not have the vocabulary"))
        return tuple(found)


def _jobs(jobs: Mapping[str, JobState]) -> str:
    done = [name for name, state in jobs.items() if state.phase is JobPhase.SUCCEEDED]
    stuck = sorted(name for name, state in jobs.items() if state.pending is not None)
    failed = sorted(jobs.keys() - {*done, *stuck})
    parts = [f"{name} succeeded with the result that the decision states" for name in done]
    if failed:
        more = f" and {len(failed) - 1} restarts" if len(failed) > 1 else ""
        parts.append(f"{failed[0]}{more} failed")
    parts += [f"{name} did not start in time" for name in stuck]
    return "; ".join(parts)


def last_heard(entries: Iterable[Entry]) -> dict[str, float]:
    """When each silo last said something on the board."""
    return {e.sender: e.received for e in entries if e.sender != HUB}


def silent_or_barred(silos: Iterable[str], entries: Sequence[Entry], now: float) -> Facts:
    """These silos were not live: silent if the board lets them be, else kept out for another reason."""
    heard, chosen = last_heard(entries), frozenset(silos)
    recent = frozenset(s for s in chosen if now - heard.get(s, 0.0) <= LOST_AFTER - CLOCKS)
    return Facts(silent=chosen - recent, barred=recent)


def plan_with(
    record: BoardRecord,
    entries: Sequence[Entry],
    now: float,
    facts: Facts,
    tasks: Mapping[str, TaskState] | None = None,
    dropped: frozenset[str] = frozenset(),
) -> Plan:
    """What the planner says to `entries`, a prefix of the record's, at `now` under `facts`.

    Args:
        tasks: tasks that were given by then; no decision depends on those that run.
        dropped: digests of blobs that were deleted by then; nor on these.

    Raises:
        KeyError: the record lacks its base release, and the plan depends on what that says.
    """
    board = Board(entries)
    frozen = board.hub(Kind.COMPUTATION) is not None
    computation = record.computation if frozen else None
    observed = Observed(
        entries=tuple(_uploaded(e, facts.incomplete) for e in entries),
        jobs=facts.jobs,
        silos=_silos(record, entries, now, facts, frozen),
        tasks={**(tasks or {}), **_failed_tasks(record, board, facts)},
        computation=computation,
        dropped=dropped,
        base=None if facts.base_unknown else base_of(record),
        vocabulary=not facts.vocabulary_unknown,
    )
    return plan(_wish(record.round, board, facts), observed, now)


def base_of(record: BoardRecord) -> BaseRelease | None:
    """The base release, or as much of it as the computation says: its digest, epoch and silos."""
    named = record.computation.get("base") if record.computation is not None else None
    if record.base is not None or not named or record.computation is None:
        return record.base
    manifest = {"epoch": named["epoch"], "rows": {silo: {} for silo in named["silos"]}}
    return BaseRelease(named["digest"], manifest, {"spec": record.computation["spec"]})


def _uploaded(entry: Entry, incomplete: frozenset[str]) -> Entry:
    late = entry.kind in (Kind.MASKED, Kind.ROWS) and entry.sender in incomplete
    return replace(entry, complete=False) if late else entry


def _silos(
    record: BoardRecord, entries: Sequence[Entry], now: float, facts: Facts, frozen: bool
) -> dict[str, SiloState]:
    keys: dict[str, Any] = dict.fromkeys(record.round.silos, "unknown")
    keys |= {f"unknown-{i}": "unknown" for i in range(facts.strangers)}
    if record.computation is not None and (frozen or facts.registry):
        keys = dict(record.computation["silos"])
    heard = last_heard(entries)
    return {
        name: SiloState(
            last_heard=heard.get(name) if name in facts.silent else now,
            accepted=name not in facts.barred,
            identity=str(key),
            labels=record.round.selector,
        )
        for name, key in keys.items()
        if name not in facts.unregistered
    }


def _failed_tasks(record: BoardRecord, board: Board, facts: Facts) -> dict[str, TaskState]:
    uid, enrolment = record.round.metadata.uid, board.enrolment
    return {
        task_name(uid, kind, silo, enrolment): TaskState(TaskPhase.FAILED, reason)
        for silo, reason in facts.failed.items()
        for kind in TaskKind
    }


def _wish(round: FederationRound, board: Board, facts: Facts) -> FederationRound:
    pauses = board.pauses()
    suspend = facts.suspend
    if suspend is None:
        suspend = bool(pauses) and pauses[-1][1] is None
    deadlines = Deadlines(
        0.0 if facts.start_due else round.deadlines.start,
        0.0 if facts.active_due else round.deadlines.active,
    )
    return replace(round, suspend=suspend, deadlines=deadlines, managed_by=MANAGED_BY)
