"""The planner against the real protocol: silos' sessions with real keys, the real aggregation, signed messages.

What the simulated silos of the other tests leave out is here: every decision must be one that sessions act upon, and
what comes out must be the sum of the survivors' vectors.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.secagg.aggregate import Coordinates, aggregate
from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.effects import Advanced, Enrolled, Fault, Fetch, Masked, Post, Retry, Skipped, Summed
from fedgestalt.secagg.kinds import HUB, Kind
from fedgestalt.secagg.messages import Message, Slot, sign
from fedgestalt.secagg.session import SiloSession
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan import (
    CreateJob,
    DropBlobs,
    EnsureTask,
    Entry,
    JobPhase,
    JobState,
    Observed,
    SiloState,
    TaskState,
    plan,
)

from .simulation import UID, make_round

SIZE = 17
START = hashlib.sha256(b"start").digest()


class Store(dict[str, bytes]):
    """Durable memory of one silo."""

    def put(self, key: str, value: bytes) -> None:
        assert self.setdefault(key, value) == value

    def delete(self, prefix: str) -> None:
        for key in [k for k in self if k.startswith(prefix)]:
            del self[key]


def place(slot: Slot) -> tuple[int, str, int, int, str, str]:
    """Coordinates, kind and sender of a message."""
    return slot.enrolment, slot.member, slot.t, slot.attempt, str(slot.kind), slot.sender


@dataclass
class Agent:
    """One silo: a session and the little that its agent does. `die` names the kind before which it falls silent."""

    name: str
    hub: Hub
    die: tuple[str, int] | None = None
    alive: bool = True
    identity: Identity = field(default_factory=Identity.generate)
    store: Store = field(default_factory=Store)
    session: SiloSession | None = None
    seen: int = 0
    t: int = 1
    model: bytes = START
    sums: dict[int, tuple[tuple[str, ...], list[int]]] = field(default_factory=dict)

    def vector(self, t: int) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(f"{self.name}/{t}".encode()).digest()[:4], "big")
        return np.random.default_rng(seed).integers(-1000, 1000, SIZE).astype(np.int32).view(np.uint32)

    def act(self) -> None:
        if not self.alive:
            return
        e = self.hub.enrolment
        if f"fg-5f0c2d7e-enrol-{self.name}-{e}" in self.hub.tasks and (
            self.session is None or self.session.enrolment_number != e
        ):
            self.session = SiloSession(
                self.name, self.identity, self.hub.computation, e, 12, self.store,
                hub_key=self.hub.key.public, not_after=2_000_000_000, now=1000.0,
            )  # fmt: skip
            self.seen, self.t, self.model = 0, 1, START
            self.handle(self.session.open())
        while self.alive and self.session is not None and self.seen < len(self.hub.messages):
            message = self.hub.messages[self.seen]
            self.seen += 1
            self.handle(self.session.on(message))
        if self.alive and self.session is not None and self.session.enrolled:
            self.work()

    def work(self) -> None:
        assert self.session is not None
        if self.t <= self.hub.round.communication_rounds:
            self.handle(self.session.begin("m0", self.t, self.model))
            self.submit()

    def submit(self) -> None:
        assert self.session is not None
        announced = self.session.announced("m0", self.t)
        if announced is None or announced not in self.hub.blobs:
            scale = self.session.scale("m0", self.t)
            self.handle(self.session.submit("m0", self.t, self.vector(self.t), scale=scale))

    def handle(self, effects) -> None:
        assert self.session is not None
        for effect in effects:
            match effect:
                case Post(message):
                    self.post(message)
                case Masked(message, data):
                    self.post(message)
                    if self.alive and data is not None:
                        self.hub.blobs[message.blobs[0]] = data
                case Fetch(digest):
                    self.handle(self.session.on_blob(digest, self.hub.blobs[digest]))
                case Summed(member, t, _, total, survivors):
                    self.sums[t] = (survivors, total.tolist())
                    after = hashlib.sha256(self.model + total.tobytes()).digest()
                    self.handle(self.session.confirm_model(member, t, after))
                case Advanced(_, t, model):
                    self.t, self.model = t + 1, model
                case Skipped(_, t):
                    self.t = t + 1
                case Retry():
                    self.submit()
                case Fault(message=message):
                    self.post(message)
                case Enrolled():
                    pass

    def post(self, message: Message) -> None:
        if not self.alive:
            return
        if self.die == (str(message.slot.kind), message.slot.t) and message.slot.enrolment == 1:
            self.alive = False
            return
        self.hub.append(message)


class Hub:
    """Board and executor around the planner."""

    def __init__(self, n: int, die: dict[str, tuple[str, int]]) -> None:
        self.round = make_round(n, rounds=2)
        self.key = Identity.generate()
        self.now = 1000.0
        self.messages: list[Message] = []
        self.received: list[float] = []
        self.slots: set[Slot] = set()
        self.blobs: dict[str, bytes] = {}
        self.tasks: dict[str, TaskState] = {}
        self.jobs: dict[str, JobState] = {}
        self.agents = {name: Agent(name, self, die.get(name)) for name in self.round.silos}
        self.silos = {
            name: SiloState(self.now, identity=agent.identity.public.hex())
            for name, agent in self.agents.items()
        }
        self.blob0: bytes | None = None

    @property
    def computation(self) -> Computation:
        assert self.blob0 is not None
        return Computation.parse(self.blob0)

    @property
    def enrolment(self) -> int:
        return 1 + sum(m.slot.kind is Kind.VOID for m in self.messages)

    def append(self, message: Message) -> None:
        if message.slot in self.slots:
            return  # a begun try posts its keys again: the same bytes
        self.slots.add(message.slot)
        self.messages.append(Message.decode(message.encode()))
        self.received.append(self.now)

    def observed(self) -> Observed:
        entries = [
            Entry(seq, received, *place(m.slot), m.body, all(b in self.blobs for b in m.blobs))
            for seq, (m, received) in enumerate(zip(self.messages, self.received, strict=True))
        ]
        computation = json.loads(self.blob0) if self.blob0 else None
        return Observed(tuple(entries), self.jobs, self.silos, self.tasks, computation)

    def step(self) -> dict[str, object]:
        made = plan(self.round, self.observed(), self.now)
        for d in made.decisions:
            for blob in d.blobs:
                self.blobs[hashlib.sha256(blob).hexdigest()] = blob
                self.blob0 = self.blob0 or blob
            slot = Slot(UID, d.enrolment, d.member, d.t, d.attempt, Kind(d.kind), HUB)
            blobs = [hashlib.sha256(blob).hexdigest() for blob in d.blobs]
            self.append(sign(slot, dict(d.body), blobs, self.key))
        for action in made.actions:
            match action:
                case EnsureTask(name=name):
                    self.tasks[name] = TaskState(TaskPhase.RUNNING)
                case CreateJob(name=name, parameters=p):
                    self.jobs[name] = self.aggregate(
                        Coordinates(int(p["enrolment"]), str(p["member"]), int(p["t"]), int(p["try"]))
                    )
                case DropBlobs():
                    pass
        for name, agent in self.agents.items():
            agent.act()
            if agent.alive:
                self.silos[name] = replace(self.silos[name], last_heard=self.now)
        self.now += 1.0 if made.decisions else 5.0
        return dict(made.status)

    def aggregate(self, at: Coordinates) -> JobState:
        blob = aggregate(
            self.messages, self.blobs.__getitem__, at, computation=self.computation, hub_key=self.key.public
        )
        digest = hashlib.sha256(blob).hexdigest()
        self.blobs[digest] = blob
        return JobState(JobPhase.SUCCEEDED, {"digest": digest}, self.now)

    def run(self) -> None:
        """Until Encoding begins."""
        for _ in range(600):
            if self.step()["phase"] in ("Encoding", "Failed"):
                return
        raise AssertionError("training does not end")


def check_sums(hub: Hub) -> None:
    """Every living silo read the plain sum of the survivors' vectors, and all hold one model."""
    living = [a for a in hub.agents.values() if a.alive]
    assert len({a.model for a in living}) == 1
    for t in (1, 2):
        for agent in living:
            survivors, total = agent.sums[t]
            plain = sum(hub.agents[s].vector(t).view(np.int32).astype(np.int64) for s in survivors)
            assert total == plain.tolist()


@pytest.mark.parametrize("n", [3, 4, 5])
def test_real_silos_train_to_the_end_under_the_planner(n):
    hub = Hub(n, {})
    hub.run()
    assert hub.step()["phase"] == "Encoding"
    check_sums(hub)
    assert not [m for m in hub.messages if m.slot.kind in (Kind.FAULT, Kind.RETRY, Kind.VOID)]
    assert {a.sums[2][0] for a in hub.agents.values()} == {hub.round.silos}


@pytest.mark.parametrize("t", [1, 2])
@pytest.mark.parametrize("kind", ["keys", "shares", "masked", "accept", "reveal", "model"])
def test_one_real_silo_of_four_lost_at_any_step_leaves_the_survivors_sum(kind, t):
    hub = Hub(4, {"silo-02": (kind, t)})
    hub.run()
    assert hub.step()["phase"] == "Encoding"
    check_sums(hub)
    faults = [m.body["reason"] for m in hub.messages if m.slot.kind is Kind.FAULT]
    assert faults == []


@pytest.mark.parametrize("kind", ["endorse", "opening", "confirm"])
def test_real_silo_lost_during_enrolment_gives_a_fresh_one(kind):
    hub = Hub(4, {"silo-02": (kind, 0)})
    hub.run()
    assert hub.enrolment == 2
    assert hub.step()["phase"] == "Encoding"
    check_sums(hub)


def test_two_real_silos_lost_after_the_survivors_stop_the_sum_and_a_returned_one_lets_the_round_go_on():
    """S of four, two fall silent before revealing: that t is skipped, the next one goes on with three."""
    hub = Hub(4, {"silo-02": ("reveal", 1), "silo-03": ("reveal", 1)})
    while not [m for m in hub.messages if m.slot.kind is Kind.SURVIVORS]:
        hub.step()
    for _ in range(100):
        hub.step()
    assert [m.body["reason"] for m in hub.messages if m.slot.kind is Kind.SKIP] == ["SurvivorSetBurnt"]
    hub.agents["silo-03"].alive, hub.agents["silo-03"].die = True, None
    hub.run()
    assert hub.step()["phase"] == "Encoding"
    assert hub.agents["silo-03"].sums[2][0] == ("silo-00", "silo-01", "silo-03")
    assert 1 not in hub.agents["silo-00"].sums
