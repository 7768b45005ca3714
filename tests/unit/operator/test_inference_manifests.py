"""Deployment and Service of an InferenceEndpoint: what the pod may do, what it serves, and when a write is due."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from fedgestalt_operator.api.endpoint import InferenceEndpoint, parse_endpoint
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.deployments import (
    APPLIED,
    InferenceTemplate,
    changed,
    child_name,
    manifests,
    owned,
    rollout_of,
)
from fedgestalt_operator.kube.validate import validate_file
from fedgestalt_operator.plan.endpoint_types import Rollout, Serve

UID = "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f"
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
TEMPLATE = InferenceTemplate(image="registry/inference@sha256:00", claim="agent")


def endpoint(example: str = "minimal", **resources: Any) -> InferenceEndpoint:
    document = validate_file(crd_folder() / "examples" / "valid" / f"endpoint-{example}.yaml")[0]
    document["metadata"] |= {"uid": UID, "namespace": "clinic"}
    document["spec"]["resources"] |= resources
    return parse_endpoint(document)


def made(
    it: InferenceEndpoint | None = None, serve: Serve | None = None, template: InferenceTemplate = TEMPLATE
) -> dict[str, Any]:
    return manifests(it or endpoint(), serve or Serve(A), template)[0]


def pod(*args: Any, **kwargs: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(*args, **kwargs)["spec"]["template"]["spec"]
    return found


def container(*args: Any, **kwargs: Any) -> dict[str, Any]:
    (found,) = pod(*args, **kwargs)["containers"]
    return dict(found)


def test_the_old_release_serves_until_the_new_one_is_ready():
    spec = made()["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert container()["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container()["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_pod_has_no_privilege_no_api_token_and_nothing_to_write_but_memory():
    assert pod()["automountServiceAccountToken"] is False
    context = pod()["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"] >= 10_000) == (True, True)
    assert "fsGroup" not in context  # the keys' files would be opened to it, and the service refuses that
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {v["name"]: v for v in pod()["volumes"]}
    assert volumes["tmp"]["emptyDir"]["medium"] == "Memory"
    assert [m.get("readOnly") for m in container()["volumeMounts"] if m["name"] == "site"] == [True]


def test_the_pod_sees_the_releases_alone_unless_it_is_to_ask_the_federation():
    digest = "a" * 64
    (mount,) = (m for m in container()["volumeMounts"] if m["name"] == "site")
    assert (mount["mountPath"], mount["subPath"]) == ("/site/releases", "releases")
    assert container()["command"][:4] == ["fedgestalt", "serve", "--release", f"/site/releases/{digest}"]
    federated = replace(TEMPLATE, site_file="site.json")
    (mount,) = (m for m in container(template=federated)["volumeMounts"] if m["name"] == "site")
    assert (mount["mountPath"], "subPath" in mount) == ("/site", False)
    assert container(template=federated)["command"][-2:] == ["--site", "/site/site.json"]


def test_resources_are_the_endpoints_and_what_a_gpu_is_called_is_the_sites():
    assert container()["resources"]["limits"] == {"memory": "2Gi"}
    gpu = replace(TEMPLATE, gpu="amd.com/gpu", runtime_class="rocm")
    with_gpu = endpoint(gpus=1, cpu="1500m")
    assert container(with_gpu, template=gpu)["resources"]["limits"] == {"memory": "2Gi", "amd.com/gpu": "1"}
    assert pod(with_gpu, template=gpu)["runtimeClassName"] == "rocm"
    assert "runtimeClassName" not in pod(template=gpu)
    threads = {e["name"]: e["value"] for e in container(with_gpu)["env"]}["OMP_NUM_THREADS"]
    assert threads == "2"


def test_the_endpoint_owns_what_is_made_and_the_service_selects_its_pods():
    deployment, service = manifests(endpoint(), Serve(A), TEMPLATE)
    assert owned(endpoint(), deployment)
    assert owned(endpoint(), service)
    assert not owned(replace(endpoint(), metadata=replace(endpoint().metadata, uid="other")), deployment)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]


def test_the_name_of_the_children_is_a_dns_label_for_every_endpoint():
    it = endpoint("name-longest")
    assert len(child_name(it)) <= 63
    assert child_name(replace(it, metadata=replace(it.metadata, name="a.b"))) == "fg-infer-a-b"


def test_a_write_is_due_only_when_the_manifest_is_another_one():
    deployment = made()
    live = copy.deepcopy(deployment)
    live["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"  # as the API server fills it in
    live["spec"]["replicas"] = 2
    assert not changed(deployment, live)
    assert changed(deployment, None)
    for other in (made(endpoint(memory="4Gi")), made(serve=Serve(B)), made(serve=Serve(A, (B,)))):
        assert changed(other, live)
    assert deployment["metadata"]["annotations"][APPLIED] == made()["metadata"]["annotations"][APPLIED]


def test_what_was_served_before_is_remembered_without_starting_new_pods():
    assert made(serve=Serve(A, (B,)))["spec"]["template"] == made()["spec"]["template"]
    assert made(serve=Serve(B))["spec"]["template"] != made()["spec"]["template"]


def live(**status: Any) -> Rollout:
    deployment = made(serve=Serve(A, (B,)))
    deployment["metadata"]["generation"] = 2
    return rollout_of({**deployment, "status": {"observedGeneration": 2, **status}})


def test_a_rollout_is_read_from_what_the_deployment_shows():
    assert live() == Rollout(A, (B,))
    pods = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    complete = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    assert live(**pods, conditions=[complete]) == Rollout(A, (B,), done=True, complete=True, available=1)
    assert not live(**{**pods, "replicas": 2}).done
    assert not live(**pods, observedGeneration=1).done
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert "10 minutes" in live(conditions=[late]).failed
    assert live(conditions=[late], observedGeneration=1).failed == ""
    quota = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota",
    }
    assert live(conditions=[quota]).refused == "exceeded quota"


def test_a_deployment_whose_notes_were_spoilt_remembers_nothing():
    deployment = made()
    for note in ("", "{", "{}", "[1]"):
        deployment["metadata"]["annotations"]["fedgestalt.org/previous"] = note
        assert rollout_of(deployment).previous == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "claim or the host path"),
        ({"claim": "c", "host_path": "/srv"}, "claim or the host path"),
        ({"host_path": "srv"}, "absolute"),
        ({"claim": "c", "user": 0}, "10000"),
        ({"claim": "c", "site_file": "../site.json"}, "within"),
        ({"claim": "c", "site_file": "/site.json"}, "within"),
    ],
)
def test_a_template_that_cannot_be_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        InferenceTemplate(image="i", **options)
