"""Jobs of a round as the planner wants to see them: read from batch/v1 Jobs and the pods that ended or do not begin."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from ..api.conditions import seconds
from ..kube.jobs import parse_result
from ..kube.labels import ROUND_UID
from ..kube.port import Cluster, Document
from ..plan.types import JobPhase, JobState, Pending
from .pending import why_pending

KEPT: Final = 4096
"""Jobs that are over and whose results are remembered, about 1 kB each."""
JOB_NAME: Final = "batch.kubernetes.io/job-name"


class JobReader:
    """Reads Jobs. What a Job that is over left is read once: it does not change. Safe for threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._over: OrderedDict[str, JobState] = OrderedDict()
        self._lock = threading.Lock()

    def jobs_of(self, namespace: str, round_uid: str) -> dict[str, JobState]:
        """The round's Jobs by name. A Job that ended well without a readable result counts as failed."""
        documents, _ = self._cluster.list("Job", namespace, {ROUND_UID: round_uid})
        return {d["metadata"]["name"]: self._state(d) for d in documents}

    def _state(self, job: Document) -> JobState:
        started, ended = _time(job["metadata"].get("creationTimestamp")), _ended(job)
        if ended is None:
            return JobState(JobPhase.RUNNING, started=started, pending=self._pending(job))
        uid = job["metadata"]["uid"]
        with self._lock:
            known = self._over.get(uid)
        if known is None:
            phase, finished = ended
            result = _result(self._cluster, job) if phase is JobPhase.SUCCEEDED else None
            known = JobState(JobPhase.FAILED, started=started, finished=finished)
            if result is not None:
                known = JobState(phase, result, started, finished)
            with self._lock:
                self._over[uid] = known
                if len(self._over) > KEPT:
                    self._over.popitem(last=False)
        return known

    def _pending(self, job: Document) -> Pending | None:
        """None for a Job whose pod runs. Pods are asked for only where the Job itself does not say so."""
        status, metadata = job.get("status", {}), job["metadata"]
        if job["spec"].get("suspend"):
            return Pending(None, "held back by the queue that admits it")
        if status.get("ready"):
            return None
        why = why_pending(_pods(self._cluster, job))
        since = status.get("startTime") or metadata.get("creationTimestamp")
        return None if why is None else Pending(_time(since), why)


def _pods(cluster: Cluster, job: Document) -> list[Document]:
    metadata = job["metadata"]
    return cluster.list("Pod", metadata.get("namespace", ""), {JOB_NAME: metadata["name"]})[0]


def _ended(job: Mapping[str, Any]) -> tuple[JobPhase, float] | None:
    for condition in job.get("status", {}).get("conditions", ()):
        if condition.get("status") == "True" and condition["type"] in ("Complete", "Failed"):
            phase = JobPhase.SUCCEEDED if condition["type"] == "Complete" else JobPhase.FAILED
            return phase, _time(condition.get("lastTransitionTime"))
    return None


def _result(cluster: Cluster, job: Document) -> Mapping[str, Any] | None:
    """What the Job's pod left in its termination message; None if there is none, or it cannot be read."""
    for pod in _pods(cluster, job):
        for container in pod.get("status", {}).get("containerStatuses", ()):
            ended = container.get("state", {}).get("terminated")
            if ended and ended.get("exitCode") == 0 and ended.get("message"):  # a sidecar leaves none
                try:
                    return parse_result(ended.get("message", ""))
                except ValueError:
                    return None
    return None


def _time(text: str | None) -> float:
    return seconds(text) if text else 0.0
