"""InferenceEndpoints on a real API server: the site's operator under the rights of its chart.

There is no kubelet and no Deployment controller: a test writes what they would, and an HTTP server plays the pods.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from tests.unit.site.pod import rolled_out, running_pod

from fedgestalt_operator.api.endpoint import parse_endpoint
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.deployments import InferenceTemplate, manifests
from fedgestalt_operator.kube.validate import validate_file
from fedgestalt_operator.plan.endpoint_types import Serve

from .api_server import ApiError, ApiServer
from .clinic import ACCOUNT, RULES, A, B, C, Clinic
from .rights import granted, refused, used

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def clinic(site_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with running_pod() as pod:
        clinic = Clinic(site_server, tmp_path_factory.mktemp("clinic"), pod)
        clinic.say(a="SignaturesValid", b="SignaturesValid", c="ProofInvalid")
        try:
            yield clinic
        finally:
            clinic.operator.stop()


def test_an_endpoint_is_verified_then_loaded_then_ready_and_goes_on_and_back(clinic: Clinic) -> None:
    clinic.create("life", A)
    clinic.until(lambda: clinic.deployed("life") == A, "there is a Deployment")
    waiting = clinic.until_ready("life", "NotLoaded")
    assert {c["type"]: c["reason"] for c in waiting["conditions"]}["Verified"] == "SignaturesValid"
    clinic.pod.loads(A, "fg-infer-life")
    clinic.roll("life")
    assert clinic.until_ready("life", "Serving")["release"] == A
    clinic.want("life", B)
    clinic.until(lambda: clinic.deployed("life") == B, "the Deployment is for the other release")
    clinic.roll("life", pods=2)
    during = clinic.until_ready("life", "WrongRelease")
    assert (during["release"], "previous" in during) == (A, False)
    clinic.restart()
    clinic.pod.loads(B, "fg-infer-life")
    clinic.roll("life")
    after = clinic.until_ready("life", "Serving")
    assert (after["release"], after["previous"]) == (B, [A])
    clinic.want("life", A)
    clinic.until(lambda: clinic.deployed("life") == A, "the Deployment is for the first release again")
    clinic.pod.loads(A, "fg-infer-life")
    clinic.roll("life")
    back = clinic.until_ready("life", "Serving")
    assert (back["release"], back["previous"], back["observedGeneration"]) == (A, [B], 3)


def test_what_fails_leaves_the_old_release_in_service(clinic: Clinic) -> None:
    clinic.serve("failing", A)
    clinic.want("failing", C)
    status = clinic.until_ready("failing", "NotVerified")
    assert (status["release"], clinic.deployed("failing")) == (A, A)
    clinic.want("failing", B)
    clinic.until(lambda: clinic.deployed("failing") == B, "the Deployment is for the other release")
    status = rolled_out(clinic.child("deployments", "failing"), pods=2, updated=1, available=1)
    status["conditions"][0] |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
    clinic.server.call("PATCH", f"{clinic.path('deployments', 'failing')}/status", {"status": status})
    clinic.until(lambda: clinic.reasons("failing").get("Loaded") == "LoadFailed", "it could not be loaded")
    assert clinic.reasons("failing")["Ready"] == "WrongRelease"
    assert clinic.get("failing")["status"]["release"] == A


def test_a_newer_release_waits_for_a_person_whoever_may_promote(clinic: Clinic) -> None:
    gates = {"minTop5": 0.0, "maxDrop": 1.0, "minPhotos": 1}
    clinic.create("choosy", A, promotion="Automatic", gates=gates)
    clinic.until(lambda: clinic.deployed("choosy") == A, "there is a Deployment")
    clinic.pod.loads(A, "fg-infer-choosy")
    clinic.roll("choosy")
    clinic.until_ready("choosy", "Serving")
    clinic.mirror("first", A)
    clinic.mirror("second", B, A)
    clinic.until(lambda: "candidate" in clinic.get("choosy")["status"], "there is a candidate")
    status = clinic.get("choosy")["status"]
    assert (status["candidate"]["release"], status["candidate"]["reason"]) == (B, "AwaitingPerson")
    assert (status["release"], clinic.deployed("choosy")) == (A, A)
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert "cannot measure the gates" in ready["message"]


def test_the_endpoint_owns_its_children_and_a_deleted_one_is_left_alone(clinic: Clinic) -> None:
    clinic.serve("owner", A)
    uid = clinic.get("owner")["metadata"]["uid"]
    for kind in ("deployments", "services"):
        (reference,) = clinic.child(kind, "owner")["metadata"]["ownerReferences"]
        assert (reference["uid"], reference["controller"]) == (uid, True)
    clinic.server.call("DELETE", f"{clinic.group}/inferenceendpoints/owner")
    # As the garbage collector would; nobody makes it anew.
    clinic.server.call("DELETE", clinic.path("deployments", "owner"))
    clinic.serve("another", A)
    assert clinic.deployed("owner") == ""


def test_nothing_is_written_while_nothing_changes(clinic: Clinic) -> None:
    clinic.serve("quiet", A)
    time.sleep(1.0)  # whatever the last change still brings
    before = [clinic.child(k, "quiet")["metadata"]["resourceVersion"] for k in ("deployments", "services")]
    version = clinic.get("quiet")["metadata"]["resourceVersion"]
    clinic.say(a="SignaturesValid", b="SignaturesValid", c="ProofInvalid")  # the same word, a pass
    clinic.restart()
    asked = clinic.pod.asked
    clinic.until(lambda: clinic.pod.asked > asked + 2, "the restarted operator has looked")
    time.sleep(1.0)
    after = [clinic.child(k, "quiet")["metadata"]["resourceVersion"] for k in ("deployments", "services")]
    assert (after, clinic.get("quiet")["metadata"]["resourceVersion"]) == (before, version)


def test_the_events_of_an_endpoint_tell_what_came_into_service(clinic: Clinic) -> None:
    clinic.serve("told", A)
    path = f"/api/v1/namespaces/{clinic.namespace}/events"

    def told() -> set[str]:
        items = clinic.server.call("GET", path)["items"]
        return {e["reason"] for e in items if e["involvedObject"]["name"] == "told"}

    clinic.until(lambda: {"Promoted", "Serving", "ModelLoaded"} <= told(), "the Events are there")


def test_the_pod_fits_the_restricted_security_standard_where_its_volume_is_a_claim(
    site_server: ApiServer,
) -> None:
    name = f"restricted-{uuid.uuid4().hex[:8]}"
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    site_server.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": enforced}})
    site_server.create(
        f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}}, exists_ok=True
    )
    document = validate_file(crd_folder() / "examples" / "valid" / "endpoint-automatic.yaml")[0]
    document["metadata"] |= {"uid": "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f", "namespace": name}
    endpoint = parse_endpoint(document)

    def start(template: InferenceTemplate) -> None:
        pod = manifests(endpoint, Serve(A), template)[0]["spec"]["template"]
        body = {"apiVersion": "v1", "kind": "Pod", **pod}
        body["metadata"] = {**pod["metadata"], "generateName": "x-"}
        site_server.call("POST", f"/api/v1/namespaces/{name}/pods", body, dryRun="All")

    start(InferenceTemplate(image="registry/inference:1", claim="agent"))
    with pytest.raises(ApiError, match="restricted volume types"):
        start(InferenceTemplate(image="registry/inference:1", host_path="/srv/agent"))


def test_the_operator_uses_what_its_chart_grants_for_endpoints_and_is_never_refused(clinic: Clinic) -> None:
    assert refused(clinic.server, clinic.namespace, ACCOUNT) == set()
    found = used(clinic.server, clinic.namespace, ACCOUNT)
    assert found - granted(RULES) == set()
    about = {"deployments", "services", "inferenceendpoints", "inferenceendpoints/status", "releases"}
    unused = {right for right in granted(RULES) - found if right[1] in about}
    # An apply is one request, `patch`, for which the server also asks for `create`; Releases come by the link.
    assert unused == {("create", "deployments"), ("create", "services"), ("create", "releases")}
