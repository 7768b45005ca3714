"""A whole numeric round with real silo sessions and real keys under the planner: from enrolment to `released`.

The training part is the one of tests/plan; here silos also give rows, sum an evaluation, state its table and sign.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np

from fedgestalt.evaluation import EvaluationTable
from fedgestalt.evaluation.protocol import KS, ROWS
from fedgestalt.secagg.aggregate import Coordinates
from fedgestalt.secagg.effects import Advanced, Effect, Summed
from fedgestalt.secagg.kinds import EVALUATION, HUB, Kind
from fedgestalt.secagg.messages import RELEASE_PREFIX, Slot, sign
from fedgestalt_operator.api.round import Operation
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan import (
    BaseRelease,
    CreateJob,
    EnsureTask,
    JobKind,
    JobPhase,
    JobState,
    Observed,
    TaskState,
    plan,
)

from ...plan.simulation import UID
from ...plan.test_real_silos import Agent, Hub

ROUNDS = 2
COUNTS = {"gallery": 3, "test": 1, "undiagnosed": 0}


def named(*parts: str) -> bytes:
    """A digest of something that the round only carries."""
    return hashlib.sha256("/".join(parts).encode()).digest()


_FIGURES = np.linspace(0.05, 0.95, len(ROWS) * len(KS)).reshape(len(ROWS), len(KS))
TABLE = json.dumps(
    {
        "table": EvaluationTable.of_replicates(_FIGURES, np.empty((*_FIGURES.shape, 0))).to_json(),
        "layout": "numeric",
    },
    sort_keys=True,
).encode()


class ReleasingAgent(Agent):
    """A silo that goes on after training."""

    done: frozenset[str] = frozenset()

    def work(self) -> None:
        super().work()
        if self.hub.adopting and self.name in self.hub.base.silos:
            self.admit()
        if not self.hub.reached("Encoding"):
            return
        if (not self.hub.adopting or self.name not in self.hub.base.silos) and self.once("rows"):
            blob = f"rows of {self.name}".encode()
            body = {
                **COUNTS,
                "digest": hashlib.sha256(blob).digest(),
                "bundle": named("bundle"),
                **self.hub.epoch_fields(),
                "data": named("data", self.name),
            }
            self.say(Kind.ROWS, body, blob)
        if self.hub.decided(Kind.RANKINGS) and not self.hub.adopting and self.once("begin"):
            self.handle(self.session.begin(EVALUATION, 1, hashlib.sha256(b"rankings").digest()))
            self.handle(self.session.submit(EVALUATION, 1, np.arange(5, dtype=np.uint32)))
        manifest = self.hub.decided(Kind.MANIFEST)
        if manifest and self.once("sign"):
            digest = manifest.body["digest"]
            self.say(Kind.SIGN, {"digest": digest, "signature": self.session.sign(RELEASE_PREFIX + digest)})

    def admit(self) -> None:
        newcomers = {
            name: key for name, key in self.hub.computation.silos.items() if name not in self.hub.base.silos
        }
        if self.once("admit"):
            self.say(Kind.ADMIT, {"epoch": bytes.fromhex(self.hub.base.epoch), "newcomers": newcomers})
        admitted = [m for m in self.hub.messages if m.slot.kind is Kind.ADMIT]
        if len(admitted) == len(self.hub.base.silos) and self.once("welcome"):
            self.say(Kind.WELCOME, {"sealed": {}})

    def handle(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Summed) and effect.member == EVALUATION:
                self.say(Kind.SCORE, {"table": TABLE})
                digest = hashlib.sha256(TABLE).digest()
                super().handle(self.session.confirm_model(EVALUATION, 1, digest))
            elif not (isinstance(effect, Advanced) and effect.member == EVALUATION):
                super().handle([effect])

    def once(self, what: str) -> bool:
        fresh = what not in self.done
        self.done |= {what}
        return fresh

    def say(self, kind: Kind, body: dict[str, object], blob: bytes | None = None) -> None:
        digests = () if blob is None else (hashlib.sha256(blob).hexdigest(),)
        if blob is not None:
            self.hub.blobs[digests[0]] = blob
        self.post(self.session.message(kind, body, blobs=digests))


class ReleasingHub(Hub):
    """The planner's executor, with a kernel Job that only names its answers.

    `base`, the hub of an earlier round, makes this one an Adopt or Rotate of its release: same hub, same identities.
    """

    def __init__(
        self,
        n: int,
        die: dict[str, tuple[str, int]] | None = None,
        *,
        operation: Operation = Operation.TRAIN,
        base: ReleasingHub | None = None,
    ) -> None:
        super().__init__(n, die or {})
        self.base = None if base is None else base.as_base()
        training = {
            "communicationRounds": ROUNDS,
            "members": [{"name": "m0", "trainable": True}, {"name": "frozen", "trainable": False}],
        }
        changed = {**self.round.spec, "operation": operation.value, "dataset": "synthdysm"}
        if self.base is None:
            changed["training"] = training
        else:
            changed["base"] = {"release": "demo", "digest": f"sha256:{self.base.digest}"}
            self.round = replace(self.round, members=(), communication_rounds=0)
        self.round = replace(self.round, operation=operation, spec=changed)
        self.agents = {name: ReleasingAgent(name, self, (die or {}).get(name)) for name in self.round.silos}
        if base is not None:
            self.key = base.key
            for name in base.agents.keys() & self.agents.keys():
                self.agents[name].identity = base.agents[name].identity
        self.silos = {
            name: replace(state, identity=self.agents[name].identity.public.hex())
            for name, state in self.silos.items()
        }

    @property
    def adopting(self) -> bool:
        return self.round.operation is Operation.ADOPT

    def as_base(self) -> BaseRelease:
        return BaseRelease(
            hashlib.sha256(self.manifest).hexdigest(), json.loads(self.manifest), json.loads(self.blob0)
        )

    def epoch_fields(self) -> dict[str, bytes]:
        if self.adopting:
            manifest = self.base.manifest
            return {
                "sealed": bytes.fromhex(manifest["bundle"]["digest"]),
                "epoch_check": bytes.fromhex(manifest["epochCheck"]),
            }
        return {
            "sealed": named("sealed", self.round.operation),
            "epoch_check": named("epoch", self.round.operation),
        }

    def observed(self) -> Observed:
        return replace(super().observed(), base=self.base)

    def reached(self, stage: str) -> bool:
        return any(m.slot.kind is Kind.STAGE and m.slot.member == stage for m in self.messages)

    def decided(self, kind: Kind):
        return next((m for m in self.messages if m.slot.kind is kind), None)

    def step(self) -> dict[str, object]:
        made = plan(self.round, self.observed(), self.now)
        for d in made.decisions:
            for blob in d.blobs:
                self.blobs[hashlib.sha256(blob).hexdigest()] = blob
                self.blob0 = self.blob0 or blob
            slot = Slot(UID, d.enrolment, d.member, d.t, d.attempt, Kind(d.kind), HUB)
            digests = [hashlib.sha256(blob).hexdigest() for blob in d.blobs]
            self.append(sign(slot, dict(d.body), digests, self.key))
        for action in made.actions:
            match action:
                case EnsureTask(name=name):
                    self.tasks[name] = TaskState(TaskPhase.RUNNING)
                case CreateJob(name=name, kind=JobKind.KERNEL):
                    closed = self.decided(Kind.ROWS_CLOSED)
                    owners = {s: hashlib.sha256(s.encode()).hexdigest() for s in closed.body["silos"]}
                    self.jobs[name] = JobState(JobPhase.SUCCEEDED, {"owners": owners}, self.now)
                case CreateJob(name=name, parameters=p):
                    at = Coordinates(int(p["enrolment"]), str(p["member"]), int(p["t"]), int(p["try"]))
                    self.jobs[name] = self.aggregate(at)
        for name, agent in self.agents.items():
            agent.act()
            if agent.alive:
                self.silos[name] = replace(self.silos[name], last_heard=self.now)
        self.now += 1.0 if made.decisions else 5.0
        return dict(made.status)

    def release(self) -> ReleasingHub:
        for _ in range(900):
            if self.step()["phase"] in ("Succeeded", "Failed"):
                return self
        raise AssertionError("the round does not end")

    @property
    def manifest(self) -> bytes:
        return self.blobs[self.decided(Kind.MANIFEST).body["digest"].hex()]
