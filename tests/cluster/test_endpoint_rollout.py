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


@pytest.fixture
def clinic(controlled_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with running_pod() as pod:
        clinic = Clinic(controlled_server, tmp_path_factory.mktemp("clinic"), pod)
        clinic.say(a="SignaturesValid", b="SignaturesValid")
        try:
            yield clinic
        finally:
            clinic.operator.stop()


def pods(clinic: Clinic, release: str = "") -> list[dict[str, Any]]:
    """The pods there are, those of one release if it is given."""
    items = clinic.server.call("GET", f"/api/v1/namespaces/{clinic.namespace}/pods")["items"]
    return [p for p in items if release in ("", p["metadata"]["annotations"]["fedgestalt.org/release"])]


def become_ready(clinic: Clinic, release: str, name: str = "clinic") -> None:
    """As a kubelet says it once the release's only pod has loaded."""
    clinic.until(lambda: len(pods(clinic, release)) == 1, f"there is a pod for {release[:12]}")
    (pod,) = pods(clinic, release)
    clinic.pod.loads(release, f"fg-infer-{name}")
    since = pod["metadata"]["creationTimestamp"]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
    path = f"/api/v1/namespaces/{clinic.namespace}/pods/{pod['metadata']['name']}/status"
    clinic.server.call("PATCH", path, {"status": {"phase": "Running", "conditions": [ready]}})


def test_the_old_pod_serves_until_the_new_one_is_ready_and_everything_goes_with_the_endpoint(
    clinic: Clinic,
) -> None:
    clinic.create("clinic", A)
    become_ready(clinic, A)
    assert clinic.until_ready("clinic", "Serving")["release"] == A
    clinic.want("clinic", B)
    clinic.until(lambda: len(pods(clinic, B)) == 1, "the new pod is there")
    assert len(pods(clinic, A)) == 1
    assert clinic.until_ready("clinic", "WrongRelease")["release"] == A
    become_ready(clinic, B)
    status = clinic.until_ready("clinic", "Serving")
    assert (status["release"], status["previous"]) == (B, [A])
    clinic.until(lambda: len(pods(clinic)) == 1, "the old pod is gone")
    clinic.server.call("DELETE", f"{clinic.group}/inferenceendpoints/clinic", propagationPolicy="Background")
    clinic.until(lambda: not clinic.deployed("clinic") and not pods(clinic), "its children went with it")


def test_a_pod_that_is_late_is_a_load_that_failed_and_the_old_release_goes_on(clinic: Clinic) -> None:
    clinic.create("clinic", A)
    become_ready(clinic, A)
    clinic.until_ready("clinic", "Serving")
    clinic.want("clinic", B)
    clinic.until(lambda: clinic.deployed("clinic") == B, "the Deployment is for the other release")
    # Ten minutes are too long for a test; the operator leaves alone what it did not write.
    clinic.server.call(
        "PATCH", clinic.path("deployments", "clinic"), {"spec": {"progressDeadlineSeconds": 2}}
    )
    clinic.until(lambda: clinic.reasons("clinic")["Loaded"] == "LoadFailed", "it is late", 120)
    assert clinic.reasons("clinic")["Ready"] == "WrongRelease"
    assert (clinic.get("clinic")["status"]["release"], len(pods(clinic, A))) == (A, 1)


def test_pods_that_a_quota_forbids_are_told_with_its_words(clinic: Clinic) -> None:
    quotas = f"/api/v1/namespaces/{clinic.namespace}/resourcequotas"
    clinic.server.create(quotas, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
    counted = f"{quotas}/none"
    clinic.until(lambda: clinic.server.call("GET", counted)["status"].get("used"), "the quota is counted")
    clinic.create("clinic", A)
    status = clinic.until_ready("clinic", "PodNotReady")
    (message,) = (c["message"] for c in status["conditions"] if c["type"] == "Ready")
    assert "exceeded quota" in message


def test_a_pod_that_is_lost_takes_readiness_away(clinic: Clinic) -> None:
    clinic.create("clinic", A)
    become_ready(clinic, A)
    clinic.until_ready("clinic", "Serving")
    (pod,) = pods(clinic)
    name = pod["metadata"]["name"]
    clinic.server.call("DELETE", f"/api/v1/namespaces/{clinic.namespace}/pods/{name}")
    clinic.until_ready("clinic", "PodNotReady")
    clinic.until(lambda: [p for p in pods(clinic, A) if p["metadata"]["name"] != name], "there is a new pod")
    become_ready(clinic, A)
    clinic.until_ready("clinic", "Serving")
