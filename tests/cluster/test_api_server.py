"""The servers that the other tests stand on: they authorise, several run at once, and controllers control."""

from __future__ import annotations

import subprocess
import uuid
from typing import Any

import pytest

from .api_server import ApiError, ApiServer
from .processes import NotStartedError, Process

CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"


def allow_reading_config_maps(server: ApiServer, namespace: str, account: str) -> None:
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    server.create(f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    server.create(f"{rbac}/rolebindings", binding)


def test_service_account_may_do_what_its_role_says_and_nothing_else(api_server, namespace):
    user = f"system:serviceaccount:{namespace}:operator"
    path = CONFIG_MAPS.format(namespace)
    with pytest.raises(ApiError) as refused:
        api_server.call("GET", path, user=user)
    assert refused.value.code == 403
    allow_reading_config_maps(api_server, namespace, "operator")
    assert api_server.call("GET", path, user=user)["items"] == []
    with pytest.raises(ApiError, match="cannot create resource"):
        api_server.call("POST", path, {"metadata": {"name": "mine"}}, user=user)


def test_certificate_names_the_user(api_server, namespace):
    with pytest.raises(ApiError, match='User "clinician" cannot list resource'):
        api_server.call("GET", CONFIG_MAPS.format(namespace), user="clinician")


def test_kubeconfig_of_a_service_account_speaks_as_it(api_server, namespace, kube_assets):
    user = f"system:serviceaccount:{namespace}:agent"
    kubeconfig = api_server.kubeconfig(user, namespace)
    query = "--output=jsonpath={.status.userInfo.username}"
    kubectl = [kube_assets / "kubectl", f"--kubeconfig={kubeconfig}", "auth", "whoami", query]
    said = subprocess.run(kubectl, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == user


def test_two_servers_know_nothing_of_each_other(api_server, site_server):
    name = f"only-{uuid.uuid4().hex[:8]}"
    api_server.namespace(name)
    with pytest.raises(ApiError) as missing:
        site_server.call("GET", f"/api/v1/namespaces/{name}")
    assert missing.value.code == 404
    assert api_server.ca_file.read_bytes() != site_server.ca_file.read_bytes()


def job(name: str) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.org/none:1"}]}
    return {"metadata": {"name": name}, "spec": {"template": {"spec": pod}}}


def test_controllers_make_a_pod_for_a_job_and_take_it_along(controlled_server, until):
    namespace = controlled_server.namespace(f"test-{uuid.uuid4().hex[:12]}")
    pods = f"/api/v1/namespaces/{namespace}/pods"
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    controlled_server.create(jobs, job("train"))
    until(lambda: len(controlled_server.call("GET", pods)["items"]) == 1, "the job has a pod")
    controlled_server.call("DELETE", f"{jobs}/train", propagationPolicy="Background")
    until(lambda: controlled_server.call("GET", pods)["items"] == [], "the pod went with its job")


def test_program_that_ends_at_once_is_reported_with_its_last_words(tmp_path):
    process = Process(tmp_path, ["/bin/sh", "-c", "echo no such port; exit 3"])
    with pytest.raises(NotStartedError, match=r"sh ended with 3:\nno such port"):
        process.wait_until(lambda: False, "readiness")


def test_program_that_never_becomes_ready_is_not_waited_for_forever(tmp_path):
    process = Process(tmp_path, ["/bin/sleep", "60"])
    try:
        with pytest.raises(NotStartedError, match="sleep: readiness still untrue after 0 s"):
            process.wait_until(lambda: False, "readiness", seconds=0.1)
    finally:
        process.stop()
    assert not process.running
