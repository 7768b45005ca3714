"""A simulated exchange: the board of one round, its tasks, who was heard when; and the port that a process sees of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedgestalt_operator.api.release import Accuracy, Release, release_of
from fedgestalt_operator.api.round import FederationRound
from fedgestalt_operator.api.task import SiloTask, TaskPhase
from fedgestalt_operator.hub.ports import Changes, DecisionTaken, ExchangeUnavailable, Presence
from fedgestalt_operator.plan.release_status import EpochState
from fedgestalt_operator.plan.types import BaseRelease, Decision, Entry, SiloState, TaskState

from ..plan.board import SlotIndex
from ..plan.silos import POST, Hook, Silo
from .faults import Gate
from .invariants import must


class SimExchange(SlotIndex):
    """What really is there. Silos touch it as their surroundings, the hub through an `ExchangePort`."""

    adopting: BaseRelease | None = None

    def __init__(
        self, round: FederationRound, silos: Sequence[str], clock: Callable[[], float], watcher: Any
    ) -> None:
        self.round, self._clock, self._watcher = round, clock, watcher
        self.entries: list[Entry] = []
        self.silos = {name: SiloState(None) for name in silos}
        self.since = clock()
        self.tasks: dict[str, TaskState] = {}
        self.frozen: Mapping[str, Any] | None = None
        self.blobs: dict[str, bytes] = {}
        self.dropped: set[str] = set()
        self.publications: dict[str, Release] = {}
        self.hook: Hook = lambda silo, kind, member, t, a: POST
        self.delayed: Callable[[str, str], float] = lambda sender, kind: 0.0
        self.underway: list[tuple[float, tuple[Any, ...]]] = []
        self.revision = 0

    @property
    def now(self) -> float:
        """By the hub's clock, which the exchange shares; what was received never comes before what stands."""
        return max(self._clock(), self.entries[-1].received if self.entries else 0.0)

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
        """A silo posts. Its message may take a while: then it stands once it arrives, if its slot is still free."""
        message = (sender, kind, e, member, t, a, body, complete)
        delay = self.delayed(sender, kind)
        if delay:
            self.underway.append((self._clock() + delay, message))
        else:
            self._arrive(message)

    def deliver(self, *, everything: bool = False) -> None:
        """Let messages arrive whose time has come, repeated ones among them."""
        now = self._clock()
        for due, message in sorted(self.underway, key=lambda late: late[0]):
            if everything or due <= now:
                self.underway.remove((due, message))
                self._arrive(message)

    def complete(self, entry: Entry) -> None:
        """A blob that was missing is there now."""
        whole = replace(entry, complete=True)
        self.entries[entry.seq] = whole
        self._slot(entry.kind, entry.enrolment, entry.member, entry.t, entry.attempt)[entry.sender] = whole
        self.revision += 1

    def _arrive(self, message: tuple[Any, ...]) -> None:
        sender, kind, e, member, t, a, body, complete = message
        standing = self._slot(kind, e, member, t, a).get(sender)
        if standing is None:
            super().append(sender, kind, e, member, t, a, body, complete)
            self.revision += 1

    def post(self, decision: Decision, blobs: Sequence[bytes | Path]) -> None:
        """The hub posts: the first one wins, the same again is as good as done."""
        at = (decision.enrolment, decision.member, decision.t, decision.attempt)
        standing = self.hub(decision.kind, *at)
        if standing is not None:
            if standing.body != dict(decision.body):
                raise DecisionTaken(str(decision.slot))
            return
        if self.over:
            raise DecisionTaken(f"{decision.slot}: the round is over")
        self._watcher.deciding(decision)
        for blob in decision.blobs:
            self.blobs[hashlib.sha256(blob).hexdigest()] = blob
        super().append("hub", decision.kind, *at, dict(decision.body))
        if decision.kind == "computation":
            self.frozen = json.loads(decision.blobs[0])
        self.revision += 1

    @property
    def over(self) -> bool:
        """Whether the hub's last word stands."""
        return bool(self.decisions("released") or self.decisions("failed"))

    # what else the hub asks

    def put_tasks(self, tasks: Sequence[SiloTask]) -> None:
        """Those that are there stay; none comes once the round is over."""
        if self.over:
            raise DecisionTaken("tasks: the round is over")
        for task in tasks:
            self._watcher.tasking(task)
            if task.metadata.name not in self.tasks:
                self.tasks[task.metadata.name] = TaskState(TaskPhase.PENDING)
                self.revision += 1

    def report(self, name: str, said: TaskState) -> bool:
        """A site says how a task stands; whether it was heard: what is over stays over."""
        if self.tasks[name].phase in (TaskPhase.SUCCEEDED, TaskPhase.FAILED):
            return False
        self.tasks[name] = said
        return True

    def drop(self, digests: Sequence[str]) -> None:
        """Absent ones are as good as deleted."""
        self._watcher.dropping(digests)
        self.dropped.update(digests)

    def publish(self, dataset: str, digest: str) -> Release:
        """Repeatable."""
        if digest not in self.publications:
            self._watcher.publishing(digest)
            manifest = json.loads(self.blobs[digest])
            self.publications[digest] = release_of(
                manifest,
                digest=digest,
                signers=self.decisions("released")[0].body["signers"],
                dataset=dataset,
                synthetic=True,
                evaluation=(Accuracy("frequent_all", "0.50"),) if manifest["evaluation"] else (),
            )
        return self.publications[digest]

    def presence(self) -> dict[str, Presence]:
        """Every silo that was ever heard or not."""
        return {name: Presence(s.last_heard, self.since) for name, s in self.silos.items()}

    def agents(self) -> dict[str, Silo]:
        """Silos that live here."""
        return {name: Silo(name, self) for name in self.silos}


class ExchangePort:
    """See `hub.ports.HubExchange`; one for each process of the hub."""

    def __init__(self, exchange: SimExchange, gate: Gate) -> None:
        self._exchange, self._gate = exchange, gate
        self._saw_the_end = False

    def _call(self, do: Callable[[], Any], *, write: bool = False) -> Any:
        away = self._gate.weather.exchange_away
        return self._gate.call(do, ExchangeUnavailable, away=away, write=write)

    def entries(self, round_uid: str) -> tuple[Entry, ...]:
        """See the port."""
        found: tuple[Entry, ...] = self._call(lambda: tuple(self._exchange.entries))
        self._saw_the_end = any(x.sender == "hub" and x.kind in ("released", "failed") for x in found)
        return found

    def computation(self, round_uid: str) -> Mapping[str, Any] | None:
        """See the port."""
        return self._call(lambda: self._exchange.frozen)

    def silos(self) -> Mapping[str, Presence]:
        """See the port."""
        return self._call(self._exchange.presence)

    def tasks(self, round_uid: str) -> Mapping[str, TaskState]:
        """See the port."""
        return self._call(lambda: dict(self._exchange.tasks))

    def rounds(self) -> frozenset[str]:
        """See the port."""
        uid = self._exchange.round.metadata.uid
        return self._call(lambda: frozenset({uid} if self._exchange.tasks else ()))

    def forget(self, round_uid: str) -> None:
        """See the port."""
        self._call(self._exchange.tasks.clear, write=True)

    def changes(self, after: int, wait: float) -> Changes:
        """See the port."""
        return self._call(lambda: Changes(frozenset(), self._exchange.revision, everything=True))

    def post(self, round_uid: str, decision: Decision, blobs: Sequence[bytes | Path] = ()) -> None:
        """See the port."""
        must(not self._saw_the_end, f"{decision.kind} decided by a process that saw the round's end")
        self._call(lambda: self._exchange.post(decision, blobs), write=True)

    def put_tasks(self, tasks: Sequence[SiloTask]) -> None:
        """See the port."""
        self._call(lambda: self._exchange.put_tasks(tasks), write=True)

    def blob(self, round_uid: str, digest: str) -> bytes | None:
        """See the port."""
        found: bytes | None = self._call(lambda: self._exchange.blobs.get(digest))
        return found

    def drop(self, round_uid: str, digests: Sequence[str]) -> None:
        """See the port."""
        self._call(lambda: self._exchange.drop(digests), write=True)

    def base(self, spec: Mapping[str, Any]) -> BaseRelease | None:
        """See the port."""
        return None

    def base_blobs(self, base: BaseRelease) -> Sequence[bytes | Path]:
        """See the port."""
        return ()

    def base_vocabulary(self, base: BaseRelease) -> bytes | None:
        """See the port."""
        return None

    def published(self, digest: str) -> bool:
        """See the port: the hub's own disk, which does not fail."""
        return digest in self._exchange.publications

    def publish(self, round_uid: str, dataset: str, digest: str, vocabulary: bytes) -> Release:
        """See the port."""
        return self._call(lambda: self._exchange.publish(dataset, digest), write=True)

    def epoch(self, epoch: str) -> EpochState | None:
        """See the port."""
        return None

    def discover(self, epoch: str) -> None:
        """See the port: no epoch is there to look at."""
