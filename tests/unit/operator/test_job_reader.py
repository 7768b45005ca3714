"""How a Job of the hub is seen: by its own status, and where that does not tell, by its pod's."""

from __future__ import annotations

from typing import Any

import pytest

from fedgestalt_operator.hub.jobs import JOB_NAME, JobReader
from fedgestalt_operator.hub.pending import MOST, NO_POD, why_pending
from fedgestalt_operator.kube.labels import ROUND_UID
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.plan.types import JobPhase, JobState, Pending

UID = "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f"
NAME = "fg-5f0c2d7e-kernel-1-0"


@pytest.fixture
def cluster() -> MemoryCluster:
    made = MemoryCluster(now=lambda: 1000.0)
    metadata = {"name": NAME, "namespace": "hub", "labels": {ROUND_UID: UID}}
    made.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}})
    return made


def pod(cluster: MemoryCluster, **status: Any) -> None:
    metadata = {"name": f"{NAME}-x", "namespace": "hub", "labels": {JOB_NAME: NAME}}
    cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    cluster.patch_status("Pod", "hub", f"{NAME}-x", status)


def seen(cluster: MemoryCluster) -> JobState:
    return JobReader(cluster).jobs_of("hub", UID)[NAME]


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"name": "kernel", "state": {"waiting": {"reason": reason, "message": message}}}


def test_a_job_without_a_pod_is_pending_since_its_creation(cluster: MemoryCluster) -> None:
    assert seen(cluster) == JobState(JobPhase.RUNNING, started=1000.0, pending=Pending(1000.0, NO_POD))


def test_its_time_to_start_runs_from_when_it_was_let_in_not_from_when_it_was_made(
    cluster: MemoryCluster,
) -> None:
    cluster.patch_status("Job", "hub", NAME, {"startTime": "1970-01-01T01:00:00Z", "active": 1, "ready": 0})
    assert seen(cluster).pending == Pending(3600.0, NO_POD)


def test_a_job_that_a_queue_holds_back_has_no_time_to_start() -> None:
    cluster = MemoryCluster()
    metadata = {"name": NAME, "namespace": "hub", "labels": {ROUND_UID: UID}}
    cluster.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"suspend": True}})
    pending = seen(cluster).pending
    assert pending is not None
    assert pending.since is None


def test_an_image_that_cannot_be_pulled_is_named(cluster: MemoryCluster) -> None:
    pod(cluster, phase="Pending", containerStatuses=[waiting("ImagePullBackOff", "Back-off pulling (x)")])
    assert seen(cluster).pending == Pending(1000.0, "ImagePullBackOff: Back-off pulling x")


def test_a_pod_that_no_node_takes_is_named(cluster: MemoryCluster) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    pod(cluster, phase="Pending", conditions=[condition], containerStatuses=[waiting("ContainerCreating")])
    assert seen(cluster).pending == Pending(1000.0, "Unschedulable: 0/3 nodes")


def test_a_job_that_says_that_it_is_ready_is_believed_without_a_look_at_its_pods(
    cluster: MemoryCluster,
) -> None:
    cluster.patch_status("Job", "hub", NAME, {"active": 1, "ready": 1})
    assert seen(cluster) == JobState(JobPhase.RUNNING, started=1000.0)


def test_a_pod_that_runs_is_not_taken_for_one_that_does_not_because_its_node_was_silent_for_a_moment(
    cluster: MemoryCluster,
) -> None:
    cluster.patch_status("Job", "hub", NAME, {"active": 1, "ready": 0})
    pod(cluster, phase="Running", containerStatuses=[{"name": "kernel", "state": {"running": {}}}])
    assert seen(cluster).pending is None


def test_what_is_told_fits_beside_the_jobs_name_in_a_status() -> None:
    said = why_pending([{"status": {"containerStatuses": [waiting("ErrImagePull", "x" * 500)]}}])
    assert said is not None
    assert len(said) == MOST
    longest = f"job aggregate to start: {said} ({'n' * 47})"
    assert len(f"hub: {longest} (+127)") <= 256
