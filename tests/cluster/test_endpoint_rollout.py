"""InferenceEndpoints with the real controllers of Deployments and ReplicaSets: only the kubelet is played.

What a Deployment's status looks like while it changes is Kubernetes' own here, not what a test believes it to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.site.pod import running_pod

from .api_server import ApiServer
from .clinic import A, B, Clinic

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def clinic(controlled_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with running_pod() as pod:
        clinic = Clinic(controlled_server, tmp_path_factory.mktemp("clinic"), pod)
        clinic.say(a="SignaturesValid", b="SignaturesValid")
        try:
            yield clinic
        finally:
            clinic.operator.stop()


def pods(clinic: Clinic, name: str, release: str = "") -> list[dict[str, Any]]:
    """The pods of an endpoint, those of one release if it is given."""
    items = clinic.server.call("GET", f"/api/v1/namespaces/{clinic.namespace}/pods")["items"]
    own = [p for p in items if p["metadata"].get("labels", {}).get("fedgestalt.org/endpoint") == name]
    return [p for p in own if release in ("", p["metadata"]["annotations"]["fedgestalt.org/release"])]


def become_ready(clinic: Clinic, name: str, release: str) -> None:
    """As a kubelet says it once the release's only pod has loaded."""
    clinic.until(lambda: len(pods(clinic, name, release)) == 1, f"there is a pod for {release[:12]}")
    (pod,) = pods(clinic, name, release)
    clinic.pod.loads(release, f"fg-infer-{name}")
    since = pod["metadata"]["creationTimestamp"]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
    path = f"/api/v1/namespaces/{clinic.namespace}/pods/{pod['metadata']['name']}/status"
    clinic.server.call("PATCH", path, {"status": {"phase": "Running", "conditions": [ready]}})


def serve(clinic: Clinic, name: str) -> None:
    clinic.create(name, A)
    become_ready(clinic, name, A)
    assert clinic.until_ready(name, "Serving")["release"] == A


def test_the_old_pod_serves_until_the_new_one_is_ready(clinic: Clinic) -> None:
    serve(clinic, "life")
    clinic.want("life", B)
    clinic.until(lambda: len(pods(clinic, "life", B)) == 1, "the new pod is there")
    assert len(pods(clinic, "life", A)) == 1
    assert clinic.until_ready("life", "WrongRelease")["release"] == A
    become_ready(clinic, "life", B)
    status = clinic.until_ready("life", "Serving")
    assert (status["release"], status["previous"]) == (B, [A])
    clinic.until(lambda: len(pods(clinic, "life")) == 1, "the old pod is gone")


def test_a_pod_that_is_late_is_a_load_that_failed_and_the_old_release_goes_on(clinic: Clinic) -> None:
    serve(clinic, "late")
    clinic.want("late", B)
    clinic.until(lambda: clinic.deployed("late") == B, "the Deployment is for the other release")
    # Ten minutes are too long for a test; the operator leaves alone what it did not write.
    clinic.server.call("PATCH", clinic.path("deployments", "late"), {"spec": {"progressDeadlineSeconds": 2}})
    clinic.until(lambda: clinic.reasons("late")["Loaded"] == "LoadFailed", "it is late", 120)
    assert clinic.reasons("late")["Ready"] == "WrongRelease"
    assert (clinic.get("late")["status"]["release"], len(pods(clinic, "late", A))) == (A, 1)


def test_a_pod_that_is_lost_takes_readiness_away_until_there_is_another_one(clinic: Clinic) -> None:
    serve(clinic, "lost")
    (pod,) = pods(clinic, "lost")
    name = pod["metadata"]["name"]
    clinic.server.call("DELETE", f"/api/v1/namespaces/{clinic.namespace}/pods/{name}")
    clinic.until_ready("lost", "PodNotReady")
    become_ready(clinic, "lost", A)
    clinic.until_ready("lost", "Serving")


def test_pods_that_a_quota_forbids_are_told_with_its_words(clinic: Clinic) -> None:
    quotas = f"/api/v1/namespaces/{clinic.namespace}/resourcequotas"
    clinic.server.create(quotas, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
    counted = f"{quotas}/none"
    clinic.until(lambda: clinic.server.call("GET", counted)["status"].get("used"), "the quota is counted")
    clinic.create("poor", A)
    status = clinic.until_ready("poor", "PodNotReady")
    (message,) = (c["message"] for c in status["conditions"] if c["type"] == "Ready")
    assert "exceeded quota" in message
    clinic.server.call("DELETE", counted)


def test_everything_goes_with_the_endpoint(clinic: Clinic) -> None:
    """Last: a garbage collector learns of new kinds half a minute after its start."""
    serve(clinic, "gone")
    clinic.server.call("DELETE", f"{clinic.group}/inferenceendpoints/gone", propagationPolicy="Background")
    clinic.until(
        lambda: not clinic.deployed("gone") and not pods(clinic, "gone"), "its children went with it", 120
    )
