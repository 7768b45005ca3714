"""What only a real API server has: refusals by RBAC, kinds that are not installed, garbage collection."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from kubernetes.config import incluster_config

from fedgestalt_operator.kube.api_server import ApiServerCluster
from fedgestalt_operator.kube.errors import Forbidden, NotFound, NotServed
from fedgestalt_operator.kube.port import Document


def config(namespace: str, name: str, owner: Document | None = None) -> Document:
    metadata = {"name": name, "namespace": namespace}
    if owner is not None:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"]}
        metadata["ownerReferences"] = [reference | {"uid": owner["metadata"]["uid"]}]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@pytest.fixture
def admin(api_server):
    cluster = ApiServerCluster(api_server.kubeconfig())
    yield cluster
    cluster.close()


@pytest.mark.parametrize(
    ("call", "about"),
    [
        (lambda c, ns: c.get("Silo", ns, "west"), "get Silo west"),
        (lambda c, ns: c.list("Job", ns), "list Job"),
        (lambda c, ns: next(c.watch("SiloTask", ns, "1", 1.0)), "watch SiloTask"),
        (lambda c, ns: c.create(config(ns, "x")), "create ConfigMap x"),
        (lambda c, ns: c.apply(config(ns, "x")), "patch ConfigMap x"),
        (lambda c, ns: c.patch_status("Silo", ns, "west", {}), "patch Silo/status west"),
        (lambda c, ns: c.delete("Lease", ns, "x"), "delete Lease x"),
    ],
)
def test_what_rbac_forbids_names_verb_kind_and_namespace(api_server, namespace, call, about):
    stranger = ApiServerCluster(api_server.kubeconfig(f"system:serviceaccount:{namespace}:stranger"))
    with pytest.raises(Forbidden, match=f"{about} in namespace {namespace}: .*cannot {about.split()[0]}"):
        call(stranger, namespace)
    stranger.close()


def test_token_that_the_server_does_not_know_is_forbidden(api_server, namespace, tmp_path):
    text = api_server.kubeconfig(f"system:serviceaccount:{namespace}:stranger").read_text()
    file = tmp_path / "kubeconfig"
    file.write_text("".join("    token: invented\n" if "token:" in x else x for x in text.splitlines(True)))
    with pytest.raises(Forbidden, match="does not accept the credentials"):
        ApiServerCluster(file).get("Silo", namespace, "west")


def test_pod_uses_its_service_account_and_reads_a_replaced_token(
    api_server, namespace, tmp_path, monkeypatch
):
    url = urlsplit(api_server.url)
    token = tmp_path / "token"
    token.write_text("invented")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(url.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(url.port))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(api_server.ca_file))
    pod = ApiServerCluster()
    token.write_text(api_server.service_account(namespace, "operator"))
    with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:operator.* cannot get"):
        pod.get("Silo", namespace, "west")
    pod.close()


def test_kind_whose_crd_is_not_installed_is_not_served_rather_than_not_found(admin, namespace):
    for call in (lambda: admin.get("RayJob", namespace, "x"), lambda: admin.list("RayJob", namespace)):
        with pytest.raises(NotServed, match="RayJob"):
            call()


def test_creating_in_a_namespace_that_is_not_there_is_not_found(admin):
    with pytest.raises(NotFound, match="nowhere"):
        admin.create(config("nowhere", "x"))


def test_every_kind_that_the_server_has_is_where_the_table_says(admin, namespace):
    kinds = ("FederationRound", "Silo", "SiloTask", "Release", "ParticipationGrant", "InferenceEndpoint")
    for kind in (*kinds, "Job", "Pod", "Event", "ConfigMap", "Secret", "Lease"):
        found, version = admin.list(kind, namespace)
        assert found == []
        assert int(version) > 0
    assert admin.get("Namespace", "", namespace)["kind"] == "Namespace"


def test_deleting_an_owner_deletes_what_it_owns_soon(controlled_server, until):
    cluster = ApiServerCluster(controlled_server.kubeconfig())
    owner = cluster.create(config("default", "owner"))
    cluster.create(config("default", "child", owner))
    cluster.create(config("default", "stranger"))
    cluster.delete("ConfigMap", "default", "owner")

    def names() -> list[str]:
        return [d["metadata"]["name"] for d in cluster.list("ConfigMap", "default")[0]]

    until(lambda: "child" not in names(), "the child went with its owner")
    assert "stranger" in names()
    cluster.close()
