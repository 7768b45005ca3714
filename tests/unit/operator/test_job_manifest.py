"""Job manifests: one for clusters and for the process runner."""

from __future__ import annotations

import pytest

from fedgestalt_operator.api.round import FederationRound, parse_round
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.jobs import image_of, job_manifest, parse_result
from fedgestalt_operator.kube.validate import validate_file
from fedgestalt_operator.plan import CreateJob, JobKind

UID = "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f"
ACTION = CreateJob(
    "fg-5f0c2d7e-aggregate-s16-3-1-1-0",
    JobKind.AGGREGATE,
    {"round": UID, "enrolment": 1, "member": "s16", "t": 3, "try": 1, "restart": 0},
)


def make_round(**spec: object) -> FederationRound:
    document = validate_file(crd_folder() / "examples" / "valid" / "round-minimal.yaml")[0]
    document["metadata"] |= {
        "uid": UID,
        "namespace": "federation",
        "creationTimestamp": "2026-09-01T00:00:00Z",
    }
    document["spec"] |= spec
    return parse_round(document)


def container() -> dict:
    return job_manifest(make_round(), ACTION)["spec"]["template"]["spec"]["containers"][0]


def test_command_and_parameters_follow_the_workload_contract():
    assert container()["command"] == ["fedgestalt", "job", "aggregate"]
    environment = {e["name"]: e["value"] for e in container()["env"] if "value" in e}
    assert environment["FEDGESTALT_MEMBER"] == "s16"
    assert environment["FEDGESTALT_T"] == "3"
    assert environment["FEDGESTALT_ENROLMENT"] == "1"
    assert environment["FEDGESTALT_RESULT"] == container()["terminationMessagePath"]


def test_no_secret_stands_in_the_manifest_itself():
    referred = [e for e in container()["env"] if "valueFrom" in e]
    assert {e["name"] for e in referred} == {"FEDGESTALT_EXCHANGE_URL", "FEDGESTALT_HUB_KEY"}


def test_round_owns_the_job_and_its_uid_tells_it_apart():
    metadata = job_manifest(make_round(), ACTION)["metadata"]
    assert metadata["ownerReferences"][0]["uid"] == UID
    assert metadata["labels"]["fedgestalt.org/round-uid"] == UID
    assert metadata["namespace"] == "federation"


def test_pod_runs_once_without_privileges_or_api_token():
    spec = job_manifest(make_round(), ACTION)["spec"]
    pod = spec["template"]["spec"]
    assert spec["backoffLimit"] == 0
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True


def test_same_action_gives_the_same_manifest():
    assert job_manifest(make_round(), ACTION) == job_manifest(make_round(), ACTION)


def test_digest_of_the_image_wins_over_the_version():
    digest = "sha256:" + "1" * 64
    software = {"version": "0.1.0", "images": [{"variant": "cpu", "digest": digest}]}
    assert image_of(make_round(software=software), "registry/w") == f"registry/w@{digest}"
    assert (
        image_of(make_round(software={"version": "0.1.0", "images": []}), "registry/w") == "registry/w:0.1.0"
    )


@pytest.mark.parametrize("text", ["[]", "x", "{" + " " * 5000 + "}"])
def test_result_that_is_no_small_object_is_refused(text):
    with pytest.raises(ValueError, match=r"Job|JSON|Expecting"):
        parse_result(text)


def test_result_is_read():
    assert parse_result('{"digest": "00"}') == {"digest": "00"}
