"""What only the cluster in memory does. What it shares with an API server is in tests/cluster/test_cluster_port.py."""

from __future__ import annotations

from typing import Any

import pytest

from fedgestalt_operator.kube.errors import NotFound
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.port import Cluster, EventType
from fedgestalt_operator.kube.validate import InvalidDocumentError

NS = "federation"


def silo(name: str = "west", **spec: Any) -> dict[str, Any]:
    identities = [{"key": "a" * 64, "notAfter": "2027-01-31T00:00:00Z"}]
    return {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "Silo",
        "metadata": {"name": name, "namespace": NS},
        "spec": {"identities": identities, **spec},
    }


def job(name: str, owner: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": NS}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner}]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}}


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(now=lambda: 1_000_000.0, new_uid=iter("abcdefgh").__next__)


def test_memory_cluster_is_a_cluster(cluster):
    port: Cluster = cluster
    assert port.list("Silo", NS)[0] == []


def test_times_and_uids_are_those_it_was_given(cluster):
    made = cluster.create(silo())
    assert made["metadata"]["creationTimestamp"] == "1970-01-12T13:46:40Z"
    assert made["metadata"]["uid"] == "a"


def test_invalid_document_lists_its_problems(cluster):
    with pytest.raises(InvalidDocumentError, match=r"spec.identities: has 0 entries"):
        cluster.create(silo(identities=[]))


def test_what_is_given_and_returned_are_copies(cluster):
    given = silo()
    cluster.create(given)["spec"]["accepted"] = True
    given["spec"]["displayName"] = "changed"
    status: dict[str, Any] = {"tasks": 1}
    cluster.patch_status("Silo", NS, "west", status)["status"]["tasks"] = 2
    status["tasks"] = 3
    cluster.list("Silo", NS)[0][0]["status"]["tasks"] = 4
    next(cluster.watch("Silo", NS, "0", 0.0)).object["spec"]["accepted"] = True
    found = cluster.get("Silo", NS, "west")
    assert found["spec"] == {"accepted": False, "displayName": "", "identities": given["spec"]["identities"]}
    assert found["status"] == {"tasks": 1}
    assert next(cluster.watch("Silo", NS, "0", 0.0)).object["spec"]["accepted"] is False


def test_deleting_an_owner_deletes_what_it_owns_at_once(cluster):
    owner = cluster.create(silo())
    child = cluster.create(job("child", owner["metadata"]["uid"]))
    cluster.create(job("grandchild", child["metadata"]["uid"]))
    cluster.create(job("stranger"))
    cluster.delete("Silo", NS, "west")
    assert [d["metadata"]["name"] for d in cluster.list("Job", NS)[0]] == ["stranger"]


def test_owner_with_a_finalizer_keeps_what_it_owns_until_it_goes(cluster):
    held = silo()
    held["metadata"]["finalizers"] = ["fedgestalt.org/held"]
    owner = cluster.apply(held)
    cluster.create(job("child", owner["metadata"]["uid"]))
    cluster.delete("Silo", NS, "west")
    assert cluster.get("Silo", NS, "west")["metadata"]["deletionTimestamp"] == "1970-01-12T13:46:40Z"
    assert cluster.get("Job", NS, "child")
    cluster.apply(silo())
    with pytest.raises(NotFound):
        cluster.get("Job", NS, "child")


def test_watch_of_a_quiet_kind_ends_with_a_bookmark(cluster):
    cluster.create(silo())
    cluster.create(job("other-kind"))
    events = list(cluster.watch("Silo", NS, "0", 0.0))
    assert [(e.type, e.version) for e in events] == [(EventType.ADDED, "1"), (EventType.BOOKMARK, "2")]
    assert list(cluster.watch("Silo", NS, "2", 0.0)) == []


def test_restored_object_keeps_uid_and_status(cluster):
    old = cluster.create(silo())
    old = cluster.patch_status("Silo", NS, "west", {"tasks": 1})
    another = MemoryCluster()
    another.restore(old)
    found = another.get("Silo", NS, "west")
    assert found["metadata"]["uid"] == old["metadata"]["uid"]
    assert found["status"] == {"tasks": 1}
