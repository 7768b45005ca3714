"""The hub on one machine: the operator's own reconciler over a cluster whose Jobs are processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.files import write_atomic
from fedgestalt.local.cluster import ProcessCluster
from fedgestalt.local.jobs import JobRunner
from fedgestalt.secagg.messages import Kind
from fedgestalt_operator.api import API_VERSION
from fedgestalt_operator.api.round import KIND
from fedgestalt_operator.hub.exchange import RealExchange
from fedgestalt_operator.hub.listener import Listener
from fedgestalt_operator.hub.reconcile import RoundReconciler
from fedgestalt_operator.hub.vocabulary import vocabulary_document
from fedgestalt_operator.kube.port import Document
from fedgestalt_operator.plan.types import Entry, Plan

MOST_WAIT = 1.0
JOB_WAIT = 0.05
IDENTITY_DAYS = 3650


class Hub(Listener):
    """Reconciles one round. A hub that was killed goes on where the board stands."""

    def __init__(
        self,
        document: Mapping[str, Any],
        *,
        client: BoardClient,
        epochs: EpochClient,
        key: Identity,
        jobs: JobRunner,
        silos: Mapping[str, bytes],
        vocabulary: bytes,
        directory: Path,
    ) -> None:
        """``document`` is the stored FederationRound, ``silos`` maps names to identity keys; ``vocabulary`` is the JSON whose
        digest the round names.
        """
        metadata = document["metadata"]
        self._name, self._namespace = metadata["name"], metadata.get("namespace", "")
        self.uid: str = metadata["uid"]
        self._client, self._jobs, self._directory = client, jobs, directory
        self._cluster = ProcessCluster(jobs)
        # The work directory is the round's record, so its time to live does not count here.
        spec = {k: v for k, v in document["spec"].items() if k != "ttlAfterFinished"}
        self._cluster.restore({**document, "spec": spec})
        for name, identity in silos.items():
            self._cluster.create(_silo(name, self._namespace, identity))
        if "vocabulary" in document["spec"]:
            named = document["spec"]["vocabulary"]["name"]
            self._cluster.create(vocabulary_document(named, self._namespace, vocabulary))
        self._exchange = RealExchange(client, epochs, key, directory / "releases")
        self._reconciler = RoundReconciler(
            self._cluster, self._exchange, namespace=self._namespace, listener=self
        )
        self.status: Mapping[str, Any] = {}

    def step(self) -> Plan:
        """Look, plan, act once; returns the plan that was carried out."""
        answer = self._reconciler.step(self._cluster.get(KIND, self._namespace, self._name))
        assert answer is not None, "nobody deletes a round on this machine"
        return answer

    def wait(self, answer: Plan) -> None:
        """Wait for news of the board, as long as the plan allows."""
        most = JOB_WAIT if self._jobs.active() else MOST_WAIT
        due = answer.requeue_after if answer.requeue_after is not None else most
        self._exchange.wait(self.uid, min(most, due))

    def score(self) -> dict[str, Any] | None:
        """The macro table that most silos computed from the secure sum (``table``, ``replicates``); None before."""
        votes: dict[bytes, int] = {}
        for entry in self._of(Kind.SCORE):
            votes[entry.body["table"]] = votes.get(entry.body["table"], 0) + 1
        if not votes:
            return None
        content: dict[str, Any] = json.loads(max(votes, key=lambda table: (votes[table], table)))
        return content

    def manifest(self) -> dict[str, Any] | None:
        """The release's manifest; None before there is one."""
        for entry in self._of(Kind.MANIFEST):
            content: dict[str, Any] = json.loads(self._client.download(self.uid, entry.body["digest"].hex()))
            return content
        return None

    def _of(self, kind: Kind) -> list[Entry]:
        return [entry for entry in self._exchange.entries(self.uid) if entry.kind == kind]

    def status_written(self, document: Document, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Keep the status in a file: what a coordinator would read with kubectl."""
        if document["kind"] == KIND:
            self.status = new
            write_atomic(self._directory / "status.json", json.dumps(new, indent=2, default=str).encode())


def _silo(name: str, namespace: str, identity: bytes) -> dict[str, Any]:
    """The Silo of a hospital on this machine, as the platform team would register it."""
    until = (datetime.now(UTC) + timedelta(days=IDENTITY_DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    spec = {"accepted": True, "identities": [{"key": identity.hex(), "notAfter": until}]}
    return {"apiVersion": API_VERSION, "kind": "Silo", "metadata": metadata, "spec": spec}
