"""A whole federation of one round: cluster, exchange, Jobs, silos, and one or two processes of the hub."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fedgestalt_operator.api import API_VERSION
from fedgestalt_operator.api.round import KIND, FederationRound, parse_round
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.hub.ports import ExchangeUnavailable, HubExchange
from fedgestalt_operator.hub.reconcile import RoundReconciler
from fedgestalt_operator.hub.vocabulary import vocabulary_document
from fedgestalt_operator.kube.errors import ClusterError
from fedgestalt_operator.kube.port import Cluster
from fedgestalt_operator.kube.validate import InvalidDocumentError
from fedgestalt_operator.plan.types import TaskState

from ..plan.silos import UID, Silo, digest
from .cluster import ClusterPort, SimCluster
from .exchange import ExchangePort, SimExchange
from .faults import Crash, Gate, Violation, Weather
from .invariants import TERMINAL, Invariants
from .jobs import JobController

NAME, START = "demo", 1_000_000.0
VOCABULARY = b'{"frequent": ["SYN:0000001"], "rare": ["SYN:0000002"]}'
RESYNC = 300.0
PATIENCE = 4.0
"""Seconds after which a silo looks at what it does although the board has not changed."""
Reconcilers = Callable[[Cluster, HubExchange, Callable[[], float]], RoundReconciler]


def reconciler(cluster: Cluster, exchange: HubExchange, now: Callable[[], float]) -> RoundReconciler:
    """A process of the hub with nothing in its memory."""
    return RoundReconciler(cluster, exchange, now=now)


@dataclass
class Process:
    """One process of the hub. `due`: when it wants to look again by itself."""

    gate: Gate
    reconciler: RoundReconciler
    due: float
    failures: int = 0


@dataclass(frozen=True)
class Shape:
    """What kind of round it is."""

    silos: int = 4
    members: int = 1
    rounds: int = 2
    start: int = 300
    active: int = 3000
    straggler: int = 60


@dataclass
class Federation:
    """Everything there is. `log` is told what happens."""

    shape: Shape
    weather: Weather
    strict: bool = False
    make: Reconcilers = reconciler
    log: Callable[[str], None] = lambda line: None
    now: float = START
    blind: bool = False
    """No watch and no feed tells the hub of news."""
    away: set[str] = field(default_factory=set)
    """Silos that do not reach the exchange now."""
    unwell: dict[str, float] = field(default_factory=dict)
    """When a silo was last found lost, refused or failed."""

    def __post_init__(self) -> None:
        rng = self.weather.rng
        uids = iter([UID])
        self.cluster = SimCluster(
            now=lambda: self.now,
            new_uid=lambda: next(uids, None) or str(uuid.UUID(int=rng.getrandbits(128))),
            strict=self.strict,
        )
        names = [f"silo-{i:02d}" for i in range(self.shape.silos)]
        self.cluster.create(round_document(self.shape, names))
        self.cluster.create(vocabulary_document("syndromes", "", VOCABULARY))
        for name in names:
            self.cluster.create(silo_document(name))
        self.invariants = Invariants(self)
        self.exchange = SimExchange(self.round, names, lambda: self.now, self.invariants)
        self.jobs = JobController(self.cluster, self.exchange, rng, lambda: self.now)
        self.silos: dict[str, Silo] = self.exchange.agents()
        self._looked: dict[str, tuple[int, float]] = {}
        self._seen = (-1, -1)
        self.hub = self.process()

    @property
    def round(self) -> FederationRound:
        """The round as it stands in the cluster."""
        return parse_round(self.cluster.get(KIND, "", NAME))

    @property
    def status(self) -> dict[str, Any]:
        """The round's status in the cluster."""
        found: dict[str, Any] = self.cluster.get(KIND, "", NAME).get("status", {})
        return found

    @property
    def over(self) -> bool:
        """Whether the board says that the round has ended."""
        return bool(self.exchange.decisions("released") or self.exchange.decisions("failed"))

    # the hub

    def process(self) -> Process:
        """A fresh process."""
        gate = Gate(self.weather)
        port = ClusterPort(self.cluster, gate, lambda: self.now, self.invariants)
        made = self.make(port, ExchangePort(self.exchange, gate), lambda: self.now)
        return Process(gate, made, self.now)

    def news(self) -> bool:
        """Whether anything changed that a watch or the feed would tell."""
        seen = (self.cluster.version, self.exchange.revision)
        return not self.blind and seen != self._seen

    def reconcile(self, process: Process | None = None) -> bool:
        """Let a process look once; whether it came to its end."""
        process = process or self.hub
        self._seen = (self.cluster.version, self.exchange.revision)
        try:
            after = process.reconciler.reconcile("", NAME)
        except Crash:
            self.log("  the hub is killed")
            self.restart()
            return False
        except InvalidDocumentError as error:
            # A look into the past, or another process, hid that a task is over; the API server knows it, and refuses.
            if self.weather.calm or "stays over" not in str(error):
                raise
            return self._failed(process, error)
        except (ClusterError, ExchangeUnavailable) as error:
            if type(error).__name__ == "NameTaken":
                raise Violation(str(error)) from error
            return self._failed(process, error)
        process.failures = 0
        process.due = self.now + (RESYNC if after is None else after)
        return True

    def _failed(self, process: Process, error: Exception) -> bool:
        self.log(f"  {type(error).__name__}: {error}")
        process.failures += 1
        process.due = self.now + min(0.5 * 2 ** (process.failures - 1), 60.0)
        return False

    def restart(self) -> None:
        """A new process in place of the old one."""
        self.hub = self.process()

    # the silos

    def act(self, name: str) -> bool:
        """Let a silo do its moves, if it lives and reaches the exchange; whether it said anything."""
        silo, exchange = self.silos[name], self.exchange
        if not silo.alive or name in self.away:
            return False
        heard = exchange.silos[name].last_heard
        if heard is None or self.now - heard > 80.0:
            self.unwell[name] = max(self.now, self.unwell.get(name, self.now))
        before, (seen, when) = exchange.revision, self._looked.get(name, (-1, 0.0))
        if seen == before and self.now < when + PATIENCE:
            exchange.silos[name] = replace(exchange.silos[name], last_heard=self.now)
            return False  # it polls, and there is nothing new
        silo.act()
        self._looked[name] = (exchange.revision, self.now)
        for task, state in list(exchange.tasks.items()):
            if state.phase is TaskPhase.PENDING and task.rsplit("-", 1)[0].endswith(f"-{name}"):
                exchange.tasks[task] = TaskState(TaskPhase.RUNNING)
                exchange.revision += 1
        return exchange.revision != before

    def was_away(self, name: str, slack: float) -> bool:
        """Whether the hub may lately have taken a silo for lost, refused or failed."""
        heard = self.exchange.silos[name].last_heard
        lost = heard is None or self.now - heard > 80.0
        return lost or self.now - self.unwell.get(name, -1e9) <= slack or not self._accepted(name)

    def _accepted(self, name: str) -> bool:
        return bool(self.cluster.get("Silo", "", name)["spec"]["accepted"])

    def accept(self, name: str, accepted: bool) -> None:
        """The platform team lets a silo in, or no more."""
        document = self.cluster.get("Silo", "", name)
        document["spec"]["accepted"] = accepted
        self.cluster.apply(document)
        self.unwell[name] = self.now

    def suspend(self, wanted: bool) -> None:
        """The coordinator suspends or resumes the round."""
        document = self.cluster.get(KIND, "", NAME)
        document["spec"]["suspend"] = wanted
        self.cluster.apply(document)
        self.exchange.round = replace(self.exchange.round, suspend=wanted)

    def wipe(self) -> None:
        """Somebody deletes every status that the hub wrote, as far as the API server lets him."""
        for kind in (KIND, "SiloTask"):
            for document in self.cluster.all(kind):
                if kind == "SiloTask" and document.get("status", {}).get("phase") in TERMINAL:
                    continue
                self.cluster.patch_status(kind, "", document["metadata"]["name"], {})

    def statuses(self) -> dict[str, Any]:
        """Every status that the hub wrote, by kind and name."""
        documents = [d for kind in (KIND, "SiloTask") for d in self.cluster.all(kind)]
        return {f"{d['kind']} {d['metadata']['name']}": d.get("status", {}) for d in documents}

    def reason(self) -> str:
        """How the round ended."""
        conditions = self.status.get("conditions", ())
        return next((str(c["reason"]) for c in conditions if c["type"] == "Succeeded"), "")


def round_document(shape: Shape, silos: list[str]) -> dict[str, Any]:
    """The coordinator's wish."""
    trained = [
        {
            "name": f"m{i}",
            "extractor": "resnet_s16",
            "trainable": True,
            "batchSize": 16,
            "maxSteps": 80,
            "optimizer": {
                "type": "AdamW",
                "learningRate": 0.001,
                "headLearningRate": 0.004,
                "weightDecay": 0.0005,
            },
            "loss": {"type": "Softmax"},
        }
        for i in range(shape.members)
    ]
    weights = {"name": "start", "digest": f"sha256:{2:064x}"}
    frozen = {"name": "frozen", "extractor": "resnet_s16", "trainable": False, "initialWeights": weights}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": NAME},
        "spec": {
            "operation": "Train",
            "silos": silos,
            "purpose": "DUO:0000006",
            "dataset": "rare-faces",
            "vocabulary": {"name": "syndromes", "digest": f"sha256:{hashlib.sha256(VOCABULARY).hexdigest()}"},
            "training": {
                "members": [*trained, frozen],
                "communicationRounds": shape.rounds,
                "localEpochs": 1,
            },
            "quorum": {"minSilos": 3, "stragglerTimeout": shape.straggler},
            "deadlines": {"start": shape.start, "active": shape.active},
            "suspend": False,
        },
    }


def silo_document(name: str) -> dict[str, Any]:
    """A registered silo."""
    identity = {"key": digest(name).hex(), "notAfter": "2038-01-01T00:00:00Z"}
    return {
        "apiVersion": API_VERSION,
        "kind": "Silo",
        "metadata": {"name": name, "labels": {"fleet": "a"}},
        "spec": {"accepted": True, "displayName": name, "identities": [identity]},
    }
