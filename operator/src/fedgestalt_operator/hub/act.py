"""Carries out what the planner says: decisions onto the board first, then what follows from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..api import API_VERSION
from ..api.meta import Metadata
from ..api.round import KIND as ROUND_KIND
from ..api.round import FederationRound
from ..api.task import SiloTask, task_document
from ..kube.errors import NotFound
from ..kube.jobs import job_manifest
from ..kube.labels import round_labels
from ..kube.port import Cluster, Document
from ..plan.kinds import Kind
from ..plan.types import (
    Action,
    BaseRelease,
    CreateJob,
    Decision,
    DeleteJob,
    DeleteRound,
    DropBlobs,
    EnsureTask,
    JobKind,
    PublishRelease,
)
from .ports import HubExchange
from .publication import Origin, create_once, publish
from .vocabulary import Vocabularies

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobTemplate:
    """What the platform team chose for the hub's Jobs; see `kube.jobs.job_manifest`."""

    repository: str = "fedgestalt-workload"
    exchange_secret: str = "fedgestalt-exchange-job"
    queue: str = ""


@dataclass(frozen=True)
class Executor:
    """The hands of the hub. Everything it does may be done twice without harm."""

    cluster: Cluster
    exchange: HubExchange
    vocabularies: Vocabularies
    template: JobTemplate = field(default_factory=JobTemplate)
    before_job: Callable[[FederationRound], None] = lambda _: None
    """Called before a Job is created, to put in place what its pod needs."""
    on_job: Callable[[JobKind], None] = lambda _: None
    """Told of each Job that was created."""

    def post(self, round: FederationRound, decision: Decision, base: BaseRelease | None) -> None:
        """Post one decision. The computation takes the vocabulary, and what newcomers need of the base, with it."""
        blobs: list[bytes | Path] = []
        if decision.kind == Kind.COMPUTATION:
            blobs.append(self.vocabulary(round, base))
            if base is not None:
                blobs += self.exchange.base_blobs(base)
        self.exchange.post(round.metadata.uid, decision, blobs)
        log.info(
            "decision %s member=%s t=%d try=%d", decision.kind, decision.member, decision.t, decision.attempt
        )

    def vocabulary(self, round: FederationRound, base: BaseRelease | None) -> bytes:
        """The vocabulary that the round speaks: its own, or its base's.

        Raises:
            NotFound: it has gone since the round was observed.
        """
        found = None
        if "vocabulary" in round.spec:
            found = self.vocabularies.find(round)
        elif base is not None:
            found = self.exchange.base_vocabulary(base)
        if found is None:
            raise NotFound(f"the vocabulary of round {round.metadata.name} is not there")
        return found

    def act(self, round: FederationRound, actions: Iterable[Action], base: BaseRelease | None) -> set[str]:
        """Do the actions in order, a round's deletion excepted; returns the digests of dropped blobs."""
        dropped: set[str] = set()
        tasks = []
        for action in actions:
            match action:
                case EnsureTask():
                    tasks.append(_task(round, action))
                case CreateJob():
                    self._create_job(round, action)
                case DeleteJob(name):
                    self._delete(round, "Job", name)
                case DropBlobs(digests):
                    self.exchange.drop(round.metadata.uid, digests)
                    dropped.update(digests)
                case PublishRelease(digest):
                    self._publish(round, digest, base)
                case DeleteRound():
                    pass
        if tasks:
            self._give(round, tasks)
        return dropped

    def _give(self, round: FederationRound, tasks: list[SiloTask]) -> None:
        """The resources first: a task that a silo could work on is always one that the coordinator can see."""
        for task in tasks:
            document = task_document(task)
            document["metadata"]["ownerReferences"] = [owner_reference(round)]
            self._create(document, round)
        self.exchange.put_tasks(tasks)

    def _create_job(self, round: FederationRound, action: CreateJob) -> None:
        self.before_job(round)
        template = self.template
        document = job_manifest(
            round,
            action,
            repository=template.repository,
            exchange_secret=template.exchange_secret,
            queue=template.queue,
        )
        if self._create(document, round):
            log.info("job %s created", action.name)
            self.on_job(action.kind)

    def _publish(self, round: FederationRound, digest: str, base: BaseRelease | None) -> None:
        try:
            vocabulary = self.vocabulary(round, base)
        except NotFound:
            vocabulary = (
                b""  # somebody deleted it since: the exchange takes the one that the round began with
            )
        publish(
            self.cluster,
            self.exchange,
            _origin(round),
            dataset=round.spec["dataset"],
            digest=digest,
            vocabulary=vocabulary,
        )

    def _create(self, document: Document, round: FederationRound) -> bool:
        """Create an object once; one of this name with the round's uid is ours from before."""
        return create_once(self.cluster, document, _origin(round))

    def _delete(self, round: FederationRound, kind: str, name: str) -> None:
        try:
            self.cluster.delete(kind, round.metadata.namespace, name)
        except NotFound:
            log.debug("%s %s is gone already", kind, name)


def _origin(round: FederationRound) -> Origin:
    return Origin(round.metadata.namespace, round.metadata.name, round.metadata.uid)


def owner_reference(round: FederationRound) -> Mapping[str, Any]:
    """Ties an object's life to the round's."""
    return {
        "apiVersion": API_VERSION,
        "kind": ROUND_KIND,
        "name": round.metadata.name,
        "uid": round.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _task(round: FederationRound, action: EnsureTask) -> SiloTask:
    labels = round_labels(
        round.metadata.name, round.metadata.uid, silo=action.silo, kind=action.kind.value.lower()
    )
    return SiloTask(
        metadata=Metadata(action.name, namespace=round.metadata.namespace, labels=labels),
        silo=action.silo,
        kind=action.kind,
        round_uid=round.metadata.uid,
        digest=action.digest,
        attempt=action.attempt,
        parameters={key: str(value) for key, value in action.parameters.items()},
    )
