"""A federation in miniature: silos that answer by docs/reference/protocol.md, jobs that end, a clock.

The world asserts what must hold at every moment: one decision per slot, one job per name, one survivor set per (member, t),
always a stated wait.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fedgestalt_operator.api.meta import Metadata
from fedgestalt_operator.api.round import Deadlines, FederationRound, Member, Operation, Phase, Quorum
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan import (
    BaseRelease,
    CreateJob,
    DeleteJob,
    DeleteRound,
    DropBlobs,
    EnsureTask,
    Entry,
    JobKind,
    JobPhase,
    JobState,
    Observed,
    Pending,
    Plan,
    PublishRelease,
    SiloState,
    TaskState,
    plan,
)

from .board import SlotIndex
from .silos import DIE_AFTER, DIE_BEFORE, HOLD, INCOMPLETE, POST, UID, Hook, Silo, digest

__all__ = [
    "DIE_AFTER",
    "DIE_BEFORE",
    "HOLD",
    "INCOMPLETE",
    "POST",
    "STUCK",
    "TERMINAL",
    "UID",
    "Hook",
    "Silo",
    "World",
    "digest",
    "make_round",
    "reason",
]

STUCK = 'ImagePullBackOff: Back-off pulling image "fedgestalt-workload"'
"""Why a pod does not begin, in a world where one does not."""
TERMINAL = (Phase.SUCCEEDED.value, Phase.FAILED.value)


def make_round(n: int = 4, *, members: int = 1, rounds: int = 2, **changes: Any) -> FederationRound:
    """A Train round of `n` silos with `members` trainable members and one frozen one."""
    names = tuple(f"silo-{i:02d}" for i in range(n))
    spec = {"quorum": {"minSilos": 3, "stragglerTimeout": 60}, "operation": "Train", "purpose": "DUO:0000042"}
    made = FederationRound(
        metadata=Metadata("demo", UID, generation=1, created=1000.0),
        operation=Operation.TRAIN,
        silos=names,
        selector={},
        members=(*(Member(f"m{i}", True) for i in range(members)), Member("frozen", False)),
        communication_rounds=rounds,
        quorum=Quorum(3, 60.0),
        deadlines=Deadlines(300.0, 20_000.0),
        stop_after="",
        suspend=False,
        ttl_after_finished=None,
        managed_by="fedgestalt.org/hub",
        spec=spec,
    )
    return replace(made, **changes)


@dataclass
class World(SlotIndex):
    """Board, jobs, tasks, silos and clock of one round."""

    round: FederationRound
    hook: Hook = lambda silo, kind, member, t, a: POST
    job_hook: Callable[[str], str] = lambda name: "ok"
    rows_refused: dict[str, str] = field(default_factory=dict)
    """Silos whose rows the kernel cannot use, and why."""
    job_seconds: float = 2.0
    now: float = 1000.0
    entries: list[Entry] = field(default_factory=list)
    jobs: dict[str, JobState] = field(default_factory=dict)
    ever_created: set[str] = field(default_factory=set)
    tasks: dict[str, TaskState] = field(default_factory=dict)
    silos: dict[str, SiloState] = field(default_factory=dict)
    agents: dict[str, Silo] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    computation: dict[str, Any] | None = None
    base: BaseRelease | None = None
    published: str = ""
    deleted: bool = False
    last: Plan | None = None

    def __post_init__(self) -> None:
        for name in self.round.silos:
            self.silos[name] = SiloState(self.now, identity=digest(name).hex(), labels={"fleet": "a"})
            self.agents[name] = Silo(name, self)

    @property
    def adopting(self) -> BaseRelease | None:
        """The base of an Adopt round."""
        return self.base if self.round.operation is Operation.ADOPT else None

    @property
    def observed(self) -> Observed:
        return Observed(
            tuple(self.entries),
            dict(self.jobs),
            dict(self.silos),
            dict(self.tasks),
            self.computation,
            frozenset(self.dropped),
            self.base,
            bool(self.published),
        )

    # the executor

    def settle(self) -> Plan:
        """Plan and apply until nothing new comes, checking what must hold."""
        for _ in range(100):
            made = plan(self.round, self.observed, self.now)
            again = plan(self.round, self.observed, self.now)
            assert made == again, "the planner is not a function"
            self._apply(made)
            if not made.decisions and not made.actions:
                self.last = made
                if made.status["phase"] not in TERMINAL:
                    assert made.status["waitingFor"], f"no stated wait in {made.status['phase']}"
                    assert made.requeue_after is not None
                    assert 0 < made.requeue_after <= 30
                return made
        raise AssertionError("the planner does not come to rest")

    def _apply(self, made: Plan) -> None:
        slots = [d.slot for d in made.decisions]
        assert len(slots) == len(set(slots)), "two decisions in one slot"
        for d in made.decisions:
            self.append("hub", d.kind, d.enrolment, d.member, d.t, d.attempt, dict(d.body))
            if d.kind == "computation":
                assert hashlib.sha256(d.blobs[0]).digest() == d.body["digest"]
                self.computation = json.loads(d.blobs[0])
            if d.kind == "survivors":
                self._check_survivors(d.enrolment, d.member, d.t, tuple(d.body["silos"]))
        for action in made.actions:
            match action:
                case CreateJob(name=name, kind=kind):
                    assert len(name) <= 47
                    assert name not in self.ever_created, f"second job {name}"
                    self.ever_created.add(name)
                    self.jobs[name] = JobState(JobPhase.RUNNING, {"kind": kind.value}, self.now)
                case EnsureTask(name=name):
                    assert len(name) <= 47
                    assert name not in self.tasks
                    self.tasks[name] = TaskState(TaskPhase.RUNNING)
                case DropBlobs(digests=digests):
                    assert not set(digests) & self.dropped
                    self.dropped |= set(digests)
                case DeleteJob(name=name):
                    del self.jobs[name]
                case PublishRelease(digest=release):
                    assert not self.published
                    self.published = release
                case DeleteRound():
                    assert not self.deleted
                    self.deleted = True
                    self.round = replace(self.round, ttl_after_finished=None)

    def _check_survivors(self, e: int, member: str, t: int, chosen: tuple[str, ...]) -> None:
        roster = self.roster(e)
        assert len(chosen) >= max(3, 2 * len(roster) // 3 + 1)
        earlier = [x for x in self.decisions("survivors") if (x.enrolment, x.member, x.t) == (e, member, t)]
        assert all(tuple(x.body["silos"]) == chosen for x in earlier), "a second survivor set"

    # time

    def tick(self, seconds: float = 1.0) -> Plan:
        """One second: hub, silos, jobs, clock."""
        made = self.settle()
        for agent in self.agents.values():
            agent.act()
        self._end_jobs()
        self.now += seconds
        return made

    def _end_jobs(self) -> None:
        for name, state in self.jobs.items():
            if state.phase is JobPhase.RUNNING and self.now >= state.started + self.job_seconds:
                fate = self.job_hook(name)
                if fate == "hang":
                    continue
                if fate == "stuck":
                    self.jobs[name] = replace(state, pending=Pending(state.started, STUCK))
                    continue
                kind = state.result["kind"]
                result: dict[str, Any] = {"digest": digest(name).hex()}
                if kind == JobKind.KERNEL.value:
                    rows = self.hub("rows-closed", self.enrolment)
                    assert rows is not None
                    used = [s for s in rows.body["silos"] if s not in self.rows_refused]
                    result = {"owners": {s: digest(s).hex() for s in used}, "refused": self.rows_refused}
                phase = JobPhase.SUCCEEDED if fate == "ok" else JobPhase.FAILED
                self.jobs[name] = replace(state, phase=phase, result=result if fate == "ok" else {})

    def run(self, most: float = 30_000.0, step: float = 1.0) -> dict[str, Any]:
        """Turn the clock until the round is over; its status."""
        end = self.now + most
        while self.now < end:
            made = self.tick(step)
            if made.status["phase"] in TERMINAL:
                return dict(made.status)
            step = 1.0 if self.entries and self.now - self.entries[-1].received < 30 else 10.0
        raise AssertionError(f"not over after {most} s: {made.status['waitingFor']}")


def reason(status: dict[str, Any]) -> str:
    """The reason of the Succeeded condition."""
    return next(str(c["reason"]) for c in status["conditions"] if c["type"] == "Succeeded")
