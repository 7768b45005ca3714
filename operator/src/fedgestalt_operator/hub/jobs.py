"""Jobs of a round as the planner wants to see them: read from batch/v1 Jobs and the pods that ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..api.conditions import seconds
from ..kube.jobs import parse_result
from ..kube.labels import ROUND_UID
from ..kube.port import Cluster, Document
from ..plan.types import JobPhase, JobState

JOB_NAME: Final = "batch.kubernetes.io/job-name"


def jobs_of(cluster: Cluster, namespace: str, uid: str) -> dict[str, JobState]:
    """The round's Jobs by name. A Job that ended well without a readable result counts as failed."""
    documents, _ = cluster.list("Job", namespace, {ROUND_UID: uid})
    return {d["metadata"]["name"]: _state(cluster, d) for d in documents}


def _state(cluster: Cluster, job: Document) -> JobState:
    started = _time(job["metadata"].get("creationTimestamp"))
    ended = _ended(job)
    if ended is None:
        return JobState(JobPhase.RUNNING, started=started)
    phase, finished = ended
    if phase is JobPhase.FAILED:
        return JobState(phase, started=started, finished=finished)
    result = _result(cluster, job)
    if result is None:
        return JobState(JobPhase.FAILED, started=started, finished=finished)
    return JobState(phase, result, started, finished)


def _ended(job: Mapping[str, Any]) -> tuple[JobPhase, float] | None:
    for condition in job.get("status", {}).get("conditions", ()):
        if condition.get("status") == "True" and condition["type"] in ("Complete", "Failed"):
            phase = JobPhase.SUCCEEDED if condition["type"] == "Complete" else JobPhase.FAILED
            return phase, _time(condition.get("lastTransitionTime"))
    return None


def _result(cluster: Cluster, job: Document) -> Mapping[str, Any] | None:
    """What the Job's pod left in its termination message; None if there is none, or it cannot be read."""
    metadata = job["metadata"]
    pods, _ = cluster.list("Pod", metadata.get("namespace", ""), {JOB_NAME: metadata["name"]})
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", ()):
            ended = container.get("state", {}).get("terminated")
            if ended and ended.get("exitCode") == 0:
                try:
                    return parse_result(ended.get("message", ""))
                except ValueError:
                    return None
    return None


def _time(text: str | None) -> float:
    return seconds(text) if text else 0.0
