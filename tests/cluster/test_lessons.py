"""What other operators learned the hard way, where only a real API server with its controllers can tell."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedgestalt_operator.api.round import parse_round
from fedgestalt_operator.hub.jobs import JobReader
from fedgestalt_operator.hub.pending import NO_POD
from fedgestalt_operator.kube.api_server import ApiServerCluster
from fedgestalt_operator.kube.jobs import job_manifest
from fedgestalt_operator.plan.types import CreateJob, JobKind, Pending

from .api_server import ApiError, ApiServer
from .hub import Hub, round_document, running_hub

SILOS = ("east", "north", "south", "west")
UID = "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f"
NAME = "fg-5f0c2d7e-kernel-1-0"
Until = Callable[..., None]


@pytest.fixture
def space(controlled_server: ApiServer) -> str:
    return controlled_server.namespace(f"lesson-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def cluster(controlled_server: ApiServer) -> Iterator[ApiServerCluster]:
    made = ApiServerCluster(controlled_server.kubeconfig())
    yield made
    made.close()


def create_job(cluster: ApiServerCluster, space: str) -> None:
    """The kernel Job that the operator would create, without an owner."""
    document = round_document("lesson", SILOS)
    document["metadata"] |= {"uid": UID, "namespace": space}
    round = parse_round({**document, "spec": {**document["spec"], "managedBy": "fedgestalt.org/hub"}})
    manifest = job_manifest(round, CreateJob(NAME, JobKind.KERNEL, {"round": UID, "enrolment": 1}))
    del manifest["metadata"]["ownerReferences"]
    cluster.create(manifest)


def pending(cluster: ApiServerCluster, space: str) -> Pending | None:
    return JobReader(cluster).jobs_of(space, UID)[NAME].pending


def test_a_job_whose_pod_does_not_begin_says_what_its_pod_says_until_it_runs(
    controlled_server: ApiServer, cluster: ApiServerCluster, space: str, until: Until
) -> None:
    """Lesson 5: stuck before Running. Image, node and quota have reasons of their own, and a clock from when it could."""
    create_job(cluster, space)
    pods = f"/api/v1/namespaces/{space}/pods"

    def why() -> str:
        found = pending(cluster, space)
        return "" if found is None else found.why

    until(lambda: why() == "its pod is not scheduled yet", "the Job has a pod, and no node takes it")
    found = pending(cluster, space)
    assert found is not None
    assert found.since is not None
    assert abs(found.since - time.time()) < 60
    (pod,) = controlled_server.call("GET", pods)["items"]
    path = f"{pods}/{pod['metadata']['name']}/status"
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "fedgestalt-workload:latest"'}
    container: dict[str, Any] = {
        "name": "kernel",
        "image": "none",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": waiting},
    }
    controlled_server.call("PATCH", path, {"status": {"containerStatuses": [container]}})
    assert why() == f"ImagePullBackOff: {waiting['message']}"
    running = {**container, "ready": True, "state": {"running": {}}}
    condition = {"type": "Ready", "status": "True"}
    status = {"phase": "Running", "containerStatuses": [running], "conditions": [condition]}
    controlled_server.call("PATCH", path, {"status": status})
    assert pending(cluster, space) is None

    def ready() -> int:
        job = controlled_server.call("GET", f"/apis/batch/v1/namespaces/{space}/jobs/{NAME}")
        return int(job["status"].get("ready") or 0)

    until(lambda: ready() == 1, "the Job itself says that its pod runs")
    assert pending(cluster, space) is None


def test_a_job_that_gets_no_pod_by_a_quota_is_pending_too(
    controlled_server: ApiServer, cluster: ApiServerCluster, space: str, until: Until
) -> None:
    """Lesson 5: there is no pod whose reason could be read, and the clock runs all the same."""
    quotas = f"/api/v1/namespaces/{space}/resourcequotas"
    controlled_server.create(quotas, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
    until(
        lambda: "hard" in controlled_server.call("GET", f"{quotas}/none").get("status", {}),
        "the quota holds",
    )
    create_job(cluster, space)
    until(
        lambda: (
            "startTime"
            in controlled_server.call("GET", f"/apis/batch/v1/namespaces/{space}/jobs/{NAME}").get(
                "status", {}
            )
        ),
        "the Job controller has seen the Job",
    )
    found = pending(cluster, space)
    assert found is not None
    assert (found.why, found.since is not None) == (NO_POD, True)


@pytest.fixture
def hub(controlled_server: ApiServer, space: str, tmp_path: Path) -> Iterator[Hub]:
    with running_hub(controlled_server, space, tmp_path / "hub", SILOS, resync=5.0) as running:
        yield running


def finalizers(hub: Hub) -> dict[str, list[str]]:
    """Objects of ours that something holds back."""
    kinds = ("federationrounds", "silos", "silotasks", "releases")
    found = {f"{kind}/{d['metadata']['name']}": d["metadata"] for kind in kinds for d in hub.list(kind)}
    jobs = hub.server.call("GET", f"/apis/batch/v1/namespaces/{hub.namespace}/jobs")["items"]
    found |= {f"jobs/{d['metadata']['name']}": d["metadata"] for d in jobs}
    return {name: m["finalizers"] for name, m in found.items() if m.get("finalizers")}


@pytest.mark.timeout(240)
def test_a_namespace_with_a_running_round_goes_although_no_operator_is_there_to_let_it(
    hub: Hub, until: Until
) -> None:
    """Lesson 9: finalizers wedge namespaces once their operator is gone. We have none, so nothing needs to be skipped."""
    hub.create(round_document("running", SILOS))
    hub.wait_for("federationrounds", "running", lambda d: d.get("status", {}).get("phase") == "Enrolling")
    until(lambda: len(hub.list("silotasks")) == len(SILOS), "every silo has its task")
    assert finalizers(hub) == {}
    assert hub.operator is not None
    hub.operator.kill()
    hub.server.call("DELETE", f"/api/v1/namespaces/{hub.namespace}")

    def gone() -> bool:
        try:
            hub.server.call("GET", f"/api/v1/namespaces/{hub.namespace}")
        except ApiError as error:
            return error.code == 404
        return False

    until(gone, "the namespace is gone, and everything in it", 120)


@pytest.mark.timeout(240)
def test_a_round_that_is_deleted_without_an_operator_is_gone_at_once_and_takes_its_tasks_along(
    hub: Hub, until: Until
) -> None:
    """Lesson 9: nothing waits for an operator that does not come; what it owes the silos it does when it comes back."""
    hub.create(round_document("deleted", SILOS))
    until(lambda: len(hub.list("silotasks")) == len(SILOS), "every silo has its task")
    assert hub.operator is not None
    hub.operator.kill()
    hub.server.call("DELETE", f"{hub.group}/federationrounds/deleted", propagationPolicy="Background")
    assert hub.list("federationrounds") == []
    until(lambda: hub.list("silotasks") == [], "the tasks went with their round")
