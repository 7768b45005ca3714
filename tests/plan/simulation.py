"""A federation in miniature: silos that answer by docs/reference/protocol.md, jobs that end, a clock.

Cryptography is left out, order and loss are not: bodies carry what the planner looks at. The world asserts
what must hold at every moment: one decision per slot, one job per name, one survivor set per (member, t),
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
    Plan,
    PublishRelease,
    SiloState,
    TaskState,
    plan,
)

UID = "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f"
TERMINAL = (Phase.SUCCEEDED.value, Phase.FAILED.value)


def digest(*parts: object) -> bytes:
    """A 32-byte stand-in for hashes and digests."""
    return hashlib.sha256(repr(parts).encode()).digest()


def rows_body(silo: str, base: BaseRelease | None, h: bytes) -> dict[str, Any]:
    """What a silo says of its rows: one extractor and one epoch key for all, the base's where there is one to adopt."""
    sealed, check = digest("sealed"), digest("check", h)
    if base is not None:
        manifest = base.manifest
        sealed, check = (bytes.fromhex(x) for x in (manifest["bundle"]["digest"], manifest["epochCheck"]))
    counts = {"gallery": 3, "test": 1, "undiagnosed": 0}
    named = {"digest": digest("rows", silo), "bundle": digest("bundle"), "data": digest("data", silo)}
    return {**counts, **named, "sealed": sealed, "epoch_check": check}


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


# What happens to a message that a silo is about to post: it goes, or the silo dies before or after, or posts a fault
# of this reason instead, or holds it back for now.
Fate = str
POST, DIE_BEFORE, DIE_AFTER, HOLD, INCOMPLETE = "post", "die-before", "die-after", "hold", "incomplete"
Hook = Callable[["Silo", str, str, int, int], Fate]


@dataclass
class Silo:
    """One silo. `recorded` is durable: (member, t) -> survivor set."""

    name: str
    world: World
    alive: bool = True
    train_seconds: float = 5.0
    recorded: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    begun: dict[tuple[str, int], float] = field(default_factory=dict)

    def act(self) -> None:
        """Post everything that is this silo's move."""
        if not self.alive:
            return
        self.world.silos[self.name] = replace(self.world.silos[self.name], last_heard=self.world.now)
        e = self.world.enrolment
        if self._task("enrol", e) and not self.world.hub("enrolled", e):
            self._enrol(e)
        if (
            self.alive
            and self.world.hub("enrolled", e)
            and self.name in self.world.hub("enrolled", e).body["silos"]
        ):
            self._work(e)

    def _task(self, kind: str, e: int) -> bool:
        return f"fg-5f0c2d7e-{kind}-{self.name}-{e}" in self.world.tasks

    def _enrol(self, e: int) -> None:
        w = self.world
        self._post("enrol", e, body={"weight": 10, "identity": digest(self.name)})
        roster = w.hub("roster", e)
        if not self.alive or roster is None or self.name not in roster.body["silos"]:
            return
        h = digest("h", e, *roster.body["silos"])
        for kind, before in (("endorse", None), ("opening", "endorse"), ("confirm", "opening")):
            if before is not None and len(w.said(before, e)) < len(roster.body["silos"]):
                return
            self._post(kind, e, body={"h": h} if kind == "endorse" else {"x": b""})
            if not self.alive:
                return

    def _work(self, e: int) -> None:
        w = self.world
        model = digest("start")
        if self._task("train", e):
            for member in w.round.trainable:
                model = digest("start", member)
                for t in range(1, w.round.communication_rounds + 1):
                    ended = self._aggregation(e, member, t, model)
                    if not self.alive or ended is None:
                        return
                    model = ended
        elif w.adopting is not None:
            self._admit(e, w.adopting)
        if not self.alive or not w.hub("stage", e, "Encoding"):
            return
        if self._task("encode", e):
            self._post("rows", e, body=rows_body(self.name, w.adopting, digest(e)))
        if (
            self.alive
            and w.adopting is None
            and w.hub("rankings", e)
            and self._aggregation(e, "evaluation", 1, b"\0" * 32)
            and self.alive
        ):
            self._post("score", e, body={"table": b"{}"})
        manifest = w.hub("manifest", e)
        if self.alive and manifest:
            self._post("sign", e, body={"digest": manifest.body["digest"]})

    def _admit(self, e: int, base: BaseRelease) -> None:
        if self.name not in base.silos:
            return
        self._post("admit", e, body={"epoch": b"", "newcomers": {}})
        if self.alive and set(base.silos) <= self.world.said("admit", e).keys():
            self._post("welcome", e, body={"sealed": {}})

    def _aggregation(self, e: int, member: str, t: int, model: bytes) -> bytes | None:
        """Play (member, t); the model hash after it, or None while it is open."""
        w, a = self.world, 1
        while w.hub("retry", e, member, t, a):
            a += 1
        at = (e, member, t, a)
        if w.hub("skip", *at):
            return model
        w.closed_suspension_check(at)
        self.begun.setdefault((member, t), w.now)
        if w.suspended and not w.said("keys", *at) and a == 1:
            return None
        self._post("keys", *at, body={"model": model, "public": b""})
        steps = (("keyset", "shares"), ("senders", "masked"))
        for decision, answer in steps:
            decided = w.hub(decision, *at)
            if not self.alive or decided is None:
                return None
            if self.name in decided.body["silos"]:
                if answer == "masked" and w.now < self.begun[(member, t)] + self.train_seconds:
                    return None
                body = (
                    {"digest": digest(*at, self.name), "length": 4} if answer == "masked" else {"sealed": {}}
                )
                self._post(answer, *at, body=body)
        survivors = w.hub("survivors", *at)
        if not self.alive or survivors is None:
            return None
        chosen = tuple(survivors.body["silos"])
        if self.name in chosen:
            if self.recorded.setdefault((member, t), chosen) != chosen:
                self._post("fault", *at, body={"reason": "SurvivorSetBurnt"})
                return None
            self._post("accept", *at, body={"silos": chosen})
            if self.alive and len(w.said("accept", *at)) >= 2 * len(w.roster(e)) // 3 + 1:
                self._post("reveal", *at, body={})
        if not self.alive or w.hub("aggregate", *at) is None:
            return None
        after = digest(model, chosen)
        self._post("model", *at, body={"hash": after})
        advance = w.hub("advance", *at)
        return after if advance is not None and self.alive else None

    def _post(
        self,
        kind: str,
        e: int,
        member: str = "",
        t: int = 0,
        a: int = 0,
        *,
        body: dict[str, Any] | None = None,
    ) -> None:
        if not self.alive or self.name in self.world.said(kind, e, member, t, a):
            return
        fate = self.world.hook(self, kind, member, t, a)
        if fate == DIE_BEFORE:
            self.alive = False
        elif fate in (POST, DIE_AFTER, INCOMPLETE):
            self.world.append(self.name, kind, e, member, t, a, body or {}, complete=fate != INCOMPLETE)
            self.alive = fate != DIE_AFTER
        elif fate != HOLD and self.name not in self.world.said("fault", e, member, t, a):
            self.world.append(self.name, "fault", e, member, t, a, {"reason": fate})


@dataclass
class World:
    """Board, jobs, tasks, silos and clock of one round."""

    round: FederationRound
    hook: Hook = lambda silo, kind, member, t, a: POST
    job_hook: Callable[[str], str] = lambda name: "ok"
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

    # the board

    def append(
        self,
        sender: str,
        kind: str,
        e: int,
        member: str,
        t: int,
        a: int,
        body: dict[str, Any],
        complete: bool = True,
    ) -> None:
        """Write once."""
        assert sender not in self._slot(kind, e, member, t, a), f"second {kind} of {sender}"
        self.entries.append(Entry(len(self.entries), self.now, e, member, t, a, kind, sender, body, complete))
        self._index.setdefault((kind, e, member, t, a), {})[sender] = self.entries[-1]

    @property
    def _index(self) -> dict[tuple[str, int, str, int, int], dict[str, Entry]]:
        return self.__dict__.setdefault("_by_slot", {})

    def _slot(self, kind: str, e: int, member: str = "", t: int = 0, a: int = 0) -> dict[str, Entry]:
        return self._index.get((kind, e, member, t, a), {})

    def hub(self, kind: str, e: int, member: str = "", t: int = 0, a: int = 0) -> Entry | None:
        return self._slot(kind, e, member, t, a).get("hub")

    def said(self, kind: str, e: int, member: str = "", t: int = 0, a: int = 0) -> dict[str, Entry]:
        return {s: x for s, x in self._slot(kind, e, member, t, a).items() if s != "hub"}

    def decisions(self, kind: str) -> list[Entry]:
        return [x for x in self.entries if x.kind == kind and x.sender == "hub"]

    def roster(self, e: int) -> list[str]:
        entry = self.hub("roster", e)
        return entry.body["silos"] if entry else []

    def closed_suspension_check(self, at: tuple[int, str, int, int]) -> None:
        """Nothing to do: a hook for tests that watch silos through a suspension."""

    @property
    def enrolment(self) -> int:
        e = 1
        while self.hub("void", e):
            e += 1
        return e

    @property
    def suspended(self) -> bool:
        stages = [
            x.member for x in self.entries if x.kind == "stage" and x.member in ("Suspended", "Resumed")
        ]
        return bool(stages) and stages[-1] == "Suspended"

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
                kind = state.result["kind"]
                result: dict[str, Any] = {"digest": digest(name).hex()}
                if kind == JobKind.KERNEL.value:
                    rows = self.hub("rows-closed", self.enrolment)
                    assert rows is not None
                    result = {"owners": {s: digest(s).hex() for s in rows.body["silos"]}}
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
