"""One planning call's inputs with the views that every question needs, and the draft of its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..api.reasons import FaultReason, RoundReason
from ..api.round import FederationRound, Operation
from ..api.task import TaskKind, TaskPhase
from .board import Board, Coordinates
from .deadlines import Clock, is_live
from .kinds import ENCODING, Kind
from .names import task_name
from .quorum import need, threshold
from .types import Action, Decision, Entry, Observed, Wait

# After one of these a silo takes no further part, whatever step it was in, until it speaks again.
LASTING = frozenset(
    {
        FaultReason.ROSTER_UNKNOWN,
        FaultReason.BOARD_REWOUND,
        FaultReason.GRANT_MISMATCH,
        FaultReason.CLOCK_SKEWED,
        FaultReason.TRAINER_FAILED,
        FaultReason.DATA_INVALID,
        FaultReason.INITIAL_WEIGHTS_MISSING,
        FaultReason.NON_FINITE,
    }
)


_DAY = 86_400.0


class Draft:
    """What one planning call has come to so far."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.actions: list[Action] = []
        self.waits: list[Wait] = []
        self.wanted_jobs: set[str] = set()
        self.failure: tuple[RoundReason, str] | None = None

    def decide(
        self, at: Coordinates, kind: Kind, body: Mapping[str, Any], blobs: Iterable[bytes] = ()
    ) -> None:
        """Put a decision into its slot."""
        self.decisions.append(Decision(*at, kind.value, body, tuple(blobs)))

    def fail(self, reason: RoundReason, message: str) -> None:
        """End the round; the first failure counts and nothing else is decided beside it."""
        if self.failure is None:
            self.failure = (reason, message)


@dataclass(frozen=True)
class Context:
    """Inputs of one planning call, and what is read from them again and again."""

    round: FederationRound
    observed: Observed
    now: float
    board: Board = field(init=False)
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        times = [e.received for e in self.observed.entries]
        times += [s.last_heard for s in self.observed.silos.values() if s.last_heard is not None]
        latest = max(times, default=0.0)
        if latest > self.now + _DAY:
            raise ValueError(f"something was received at {latest}, now is {self.now}; give both in seconds")
        board = Board(self.observed.entries)
        object.__setattr__(self, "board", board)
        object.__setattr__(self, "clock", Clock(self.now, tuple(board.pauses())))

    @cached_property
    def enrolment(self) -> int:
        """The enrolment attempt that is open or stands."""
        return self.board.enrolment

    @property
    def at(self) -> Coordinates:
        """Coordinates of the enrolment itself."""
        return (self.enrolment, "", 0, 0)

    @cached_property
    def invited(self) -> tuple[str, ...]:
        """Silos of the frozen computation."""
        computation = self.observed.computation
        return tuple(sorted(computation["silos"])) if computation is not None else ()

    @cached_property
    def roster(self) -> tuple[str, ...]:
        """Silos of the closed roster of this enrolment; empty before."""
        entry = self.board.hub(Kind.ROSTER, self.at)
        return tuple(entry.body["silos"]) if entry is not None else ()

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Silos of the base release's epoch; empty for a round without base."""
        computation = self.observed.computation
        base = computation.get("base") if computation is not None else None
        return tuple(base["silos"]) if base else ()

    @cached_property
    def newcomers(self) -> tuple[str, ...]:
        """Adopt: the silos of the roster that are not of the epoch yet."""
        if self.round.operation is not Operation.ADOPT:
            return ()
        return tuple(silo for silo in self.roster or self.invited if silo not in self.members)

    @property
    def encoders(self) -> tuple[str, ...]:
        """The silos that send rows: all, but in an Adopt round the newcomers only."""
        return self.newcomers if self.round.operation is Operation.ADOPT else self.roster

    @property
    def tau(self) -> int:
        """More than two thirds of the roster."""
        return threshold(len(self.roster))

    @property
    def need(self) -> int:
        """Silos with which a step of this roster goes on."""
        return need(len(self.roster), self.round.quorum.min_silos)

    @property
    def digest(self) -> str:
        """The computation's digest in hexadecimal; empty before it is on the board."""
        entry = self.board.hub(Kind.COMPUTATION)
        return hex_of(entry.body["digest"]) if entry is not None else ""

    @property
    def active_since(self) -> float | None:
        """When the active deadline began to run: the enrolment stood."""
        entry = self.board.hub(Kind.ENROLLED, self.at)
        return entry.received if entry is not None else None

    @property
    def active_until(self) -> float | None:
        """When the active deadline falls due, as far as is known; None while suspended or before it runs."""
        since = self.active_since
        if since is None or self.clock.suspended:
            return None
        return self.clock.until(since, self.round.deadlines.active)

    @cached_property
    def out(self) -> frozenset[str]:
        """Silos whose last word in this enrolment is a lasting fault."""
        faults = self.board.faults(self.enrolment)
        return frozenset(f.sender for f in faults if f.body.get("reason") in LASTING and self._last_word(f))

    @cached_property
    def gone(self) -> frozenset[str]:
        """Silos of the roster that can do no more for this round: out, or their task failed for good."""
        tasks = self.observed.tasks
        failed = {s for s in self.roster if (t := tasks.get(self.task(s))) and t.phase is TaskPhase.FAILED}
        return frozenset(self.out | failed) & frozenset(self.roster)

    def _last_word(self, fault: Entry) -> bool:
        latest = self.board.latest(fault.sender)
        return latest is None or latest.seq < fault.seq

    def excused(self, at: Coordinates) -> frozenset[str]:
        """Silos that are not waited for at these coordinates: out, or a fault there is their last word."""
        return self.out | {f.sender for f in self.board.faults_at(at) if self._last_word(f)}

    def live(self, silo: str) -> bool:
        """Whether the silo is accepted, was heard lately, and its task has not failed."""
        state = self.observed.silos.get(silo)
        if state is None or not state.accepted or not is_live(state.last_heard, self.now):
            return False
        task = self.observed.tasks.get(self.task(silo))
        return task is None or task.phase is not TaskPhase.FAILED

    @cached_property
    def task_kind(self) -> TaskKind:
        """The task that silos work on now."""
        if self.board.hub(Kind.ENROLLED, self.at) is None:
            return TaskKind.ENROL
        encoding = self.board.hub(Kind.STAGE, (self.enrolment, ENCODING, 0, 0))
        return TaskKind.TRAIN if encoding is None else TaskKind.ENCODE

    def task(self, silo: str) -> str:
        """Name of the SiloTask that `silo` works on now."""
        return task_name(self.round.metadata.uid, self.task_kind, silo, self.enrolment)


def hex_of(value: bytes | str) -> str:
    """A digest in hexadecimal, whichever way the board's decoder gave it."""
    return value if isinstance(value, str) else value.hex()


def complete(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Those entries whose blobs are all there."""
    return {silo: e for silo, e in entries.items() if e.complete}
