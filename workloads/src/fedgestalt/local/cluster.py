"""A cluster of one machine: objects in memory, Jobs as processes whose folders outlive them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fedgestalt.local.jobs import JobRunner, LocalJob
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.port import Document

JOB_NAME = "batch.kubernetes.io/job-name"


class ProcessCluster(MemoryCluster):
    """The cluster port of the local runner. Jobs of earlier runs in the same work directory are there from the start."""

    def __init__(self, runner: JobRunner) -> None:
        super().__init__()
        self._runner = runner
        for name in runner.names():
            super().create(runner.manifest(name))

    def list(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[Document], str]:
        """See `Cluster.list`; Jobs with how their processes stand, and a pod for each that has ended."""
        if kind == "Pod":
            name = (labels or {}).get(JOB_NAME, "")
            return ([_pod(name, self._runner.get(name))] if self._runner.has(name) else []), "0"
        if kind == "Job":
            self._look()
        return super().list(kind, namespace, labels)

    def create(self, document: Mapping[str, Any]) -> Document:
        """See `Cluster.create`; a Job's process starts."""
        created = super().create(document)
        if document["kind"] == "Job":
            self._runner.create(document)
        return created

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """See `Cluster.delete`; a Job's process ends."""
        super().delete(kind, namespace, name, uid)
        if kind == "Job":
            self._runner.delete(name)

    def _look(self) -> None:
        for name in self._runner.names():
            job = self._runner.get(name)
            if job.finished is not None:
                manifest = self._runner.manifest(name)
                self.patch_status("Job", manifest["metadata"].get("namespace", ""), name, _status(job))


def _status(job: LocalJob) -> Mapping[str, Any]:
    done = "Complete" if job.phase == "Succeeded" else "Failed"
    condition = {"type": done, "status": "True", "lastTransitionTime": _text(job.finished or 0.0)}
    return {"conditions": [condition]}


def _pod(name: str, job: LocalJob) -> Document:
    state: dict[str, Any] = {"running": {}}
    if job.finished is not None:
        code = 0 if job.exit_code is None else job.exit_code
        state = {"terminated": {"exitCode": code, "message": json.dumps(dict(job.result))}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {JOB_NAME: name}},
        "status": {"containerStatuses": [{"name": "job", "state": state}]},
    }


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
