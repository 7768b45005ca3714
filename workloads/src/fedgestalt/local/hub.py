"""The hub on one machine: reads the board, asks the planner, carries out what it says.

The same planner as in a cluster decides; only the hands differ: decisions are posted with the hub's key, Jobs are
processes, SiloTasks go to the exchange. Nothing here is remembered that the board and the folders do not hold, so a hub
that was killed goes on where the board stands.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.view import BoardView
from fedgestalt.files import write_atomic
from fedgestalt.local.jobs import JobRunner
from fedgestalt.local.releases import HubReleases, delete_blob
from fedgestalt.secagg.messages import HUB, Kind, Message, Slot, sign
from fedgestalt_operator.api.meta import Metadata
from fedgestalt_operator.api.round import FederationRound
from fedgestalt_operator.api.task import SiloTask, TaskKind, TaskPhase, task_document
from fedgestalt_operator.kube.jobs import job_manifest
from fedgestalt_operator.plan.planner import plan
from fedgestalt_operator.plan.types import (
    Action,
    CreateJob,
    Decision,
    DeleteJob,
    DeleteRound,
    DropBlobs,
    EnsureTask,
    Entry,
    JobPhase,
    JobState,
    Observed,
    Plan,
    PublishRelease,
    SiloState,
    TaskState,
)

log = logging.getLogger(__name__)

SILOS_SECONDS = 1.0
MOST_WAIT = 1.0
JOB_WAIT = 0.05


class Hub:
    """Reconciles one round."""

    def __init__(
        self,
        round: FederationRound,
        *,
        client: BoardClient,
        epochs: EpochClient,
        key: Identity,
        jobs: JobRunner,
        silos: Mapping[str, bytes],
        vocabulary: bytes,
        directory: Path,
    ) -> None:
        """``silos`` maps names to identity keys; ``vocabulary`` is the JSON whose digest the round names."""
        self.round, self._client, self._key, self._jobs = round, client, key, jobs
        self._identities, self._vocabulary, self._directory = dict(silos), vocabulary, directory
        self._releases = HubReleases(directory / "releases", client, epochs)
        self._base = self._releases.base(round.spec)
        self._messages: list[Message] = []
        self.uid = round.metadata.uid
        self.entries: list[Entry] = []
        self._view = BoardView(client, self.uid)
        self._computation: Mapping[str, Any] | None = None
        self._dropped: set[str] = set()
        self._silos: dict[str, SiloState] = {}
        self._tasks: dict[str, TaskState] = {}
        self._silos_at = 0.0
        self._unsure = True
        self.status: Mapping[str, Any] = {}

    def step(self) -> Plan:
        """Look, plan, act once; returns the plan that was carried out."""
        if self._unsure:
            # What was posted before a kill, or without an answer, may stand on the board: it is not decided again.
            self._read(0.0)
            self._unsure = False
        self._look_at_silos()
        answer = plan(self.round, self._observe(), time.time())
        self._unsure = bool(answer.decisions)
        for decision in answer.decisions:
            self._post(decision)
        self._unsure = False
        for action in answer.actions:
            self._act(action)
        if answer.status != self.status:
            self.status = answer.status
            write_atomic(
                self._directory / "status.json", json.dumps(answer.status, indent=2, default=str).encode()
            )
        return answer

    def wait(self, answer: Plan) -> None:
        """Wait for news of the board, as long as the plan allows."""
        most = JOB_WAIT if self._jobs.active() else MOST_WAIT
        due = answer.requeue_after if answer.requeue_after is not None else most
        self._read(min(most, due))

    def score(self) -> dict[str, Any] | None:
        """The macro table that most silos computed from the secure sum (``table``, ``replicates``); None before."""
        votes: dict[bytes, int] = {}
        for entry in self.entries:
            if entry.kind == Kind.SCORE:
                votes[entry.body["table"]] = votes.get(entry.body["table"], 0) + 1
        if not votes:
            return None
        content: dict[str, Any] = json.loads(max(votes, key=lambda table: (votes[table], table)))
        return content

    def manifest(self) -> dict[str, Any] | None:
        """The release's manifest; None before there is one."""
        for entry in self.entries:
            if entry.kind == Kind.MANIFEST:
                content: dict[str, Any] = json.loads(
                    self._client.download(self.uid, entry.body["digest"].hex())
                )
                return content
        return None

    # ------------------------------------------------------------------ looking

    def _read(self, wait: float) -> None:
        for entry in self._view.refresh(wait):
            message = Message.decode(entry.message)
            slot = message.slot
            seen = Entry(
                entry.seq,
                entry.received / 1000.0,
                slot.enrolment,
                slot.member,
                slot.t,
                slot.attempt,
                str(slot.kind),
                slot.sender,
                message.body,
                entry.complete,
            )
            if entry.seq <= len(self.entries):
                self.entries[entry.seq - 1] = seen  # its blobs are complete now
            else:
                self.entries.append(seen)
                self._messages.append(message)
            if slot.kind == Kind.COMPUTATION and self._computation is None:
                self._computation = json.loads(self._client.download(self.uid, message.blobs[0]))

    def _look_at_silos(self) -> None:
        if time.monotonic() < self._silos_at:
            return
        self._silos_at = time.monotonic() + SILOS_SECONDS
        presence = {silo.name: silo for silo in self._client.silos()}
        for name, identity in self._identities.items():
            found = presence.get(name)
            heard = None if found is None else found.last_heard
            if found is not None and heard is None and self.entries:
                heard = found.serving_since  # the exchange was started anew: count from then
            accepted = found is not None and found.accepted
            self._silos[name] = SiloState(heard, accepted, found.version if found else "", identity.hex())
            for task in self._client.silo_tasks(name):
                status = task.status
                self._tasks[task.name] = TaskState(
                    TaskPhase(status.get("phase", "Pending")),
                    status.get("reason", ""),
                    float(status.get("fraction", 0.0)),
                    status.get("message", ""),
                )

    def _observe(self) -> Observed:
        jobs = {}
        for name in self._jobs.names():
            job = self._jobs.get(name)
            jobs[name] = JobState(JobPhase(job.phase), job.result, job.started, job.finished)
        return Observed(
            tuple(self.entries),
            jobs,
            self._silos,
            self._tasks,
            self._computation,
            frozenset(self._dropped),
            self._base,
            self._published(),
        )

    def _published(self) -> bool:
        released = next((e for e in self.entries if e.kind == Kind.RELEASED), None)
        return released is not None and self._releases.published(released.body["digest"].hex())

    # ------------------------------------------------------------------ acting

    def _post(self, decision: Decision) -> None:
        digests = []
        for blob in decision.blobs:
            digest = hashlib.sha256(blob).hexdigest()
            self._client.upload(self.uid, digest, blob)
            digests.append(digest)
        if decision.kind == Kind.COMPUTATION:
            digest = hashlib.sha256(self._vocabulary).hexdigest()
            self._client.upload(self.uid, digest, self._vocabulary)
            digests.append(digest)
            if self._base is not None:
                digests += self._releases.upload(self.uid, self._base)
        slot = Slot(
            self.uid,
            decision.enrolment,
            decision.member,
            decision.t,
            decision.attempt,
            Kind(decision.kind),
            HUB,
        )
        log.info("decision: %s", slot)
        self._client.post(sign(slot, dict(decision.body), digests, self._key).encode())

    def _act(self, action: Action) -> None:
        match action:
            case CreateJob():
                log.info("job %s", action.name)
                self._jobs.create(job_manifest(self.round, action))
            case DeleteJob(name):
                self._jobs.delete(name)
            case EnsureTask():
                task = SiloTask(
                    Metadata(action.name, uid=""),
                    action.silo,
                    TaskKind(action.kind),
                    self.uid,
                    action.digest,
                    action.attempt,
                    action.parameters,
                )
                self._client.put_task(action.silo, action.name, task_document(task)["spec"])
                self._tasks.setdefault(action.name, TaskState(TaskPhase.PENDING))
            case DropBlobs(digests):
                for digest in digests:
                    delete_blob(self._client, self.uid, digest)
                    self._dropped.add(digest)
            case PublishRelease(digest):
                log.info("release %s", digest[:12])
                self._releases.publish(self.uid, digest, self._messages, self._vocabulary)
            case DeleteRound():
                log.info("the round's time to live is over; its folder is kept")
