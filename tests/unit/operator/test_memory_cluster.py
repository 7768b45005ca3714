"""The cluster in memory behaves as an API server does where the operator relies on it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fedgestalt_operator.kube.errors import AlreadyExists, Conflict, Gone, NotFound
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.port import Cluster, EventType
from fedgestalt_operator.kube.validate import InvalidDocumentError

NS = "federation"


def silo(name: str = "west", **spec: Any) -> dict[str, Any]:
    identities = [{"key": "a" * 64, "notAfter": "2027-01-31T00:00:00Z"}]
    return {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "Silo",
        "metadata": {"name": name, "namespace": NS, "labels": {"fleet": "a"}},
        "spec": {"identities": identities, **spec},
    }


def job(name: str, owner: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": NS}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner}]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}}


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(now=lambda: 1_000_000.0)


def test_memory_cluster_is_a_cluster(cluster):
    port: Cluster = cluster
    assert port.list("Silo", NS)[0] == []


def test_create_defaults_and_gives_what_only_a_server_gives(cluster):
    made = cluster.create(silo() | {"status": {"version": "9"}})
    assert made["spec"]["accepted"] is False
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["creationTimestamp"] == "1970-01-12T13:46:40Z"
    assert len(made["metadata"]["uid"]) == 36
    assert "status" not in made


def test_creating_twice_is_already_exists(cluster):
    cluster.create(silo())
    with pytest.raises(AlreadyExists):
        cluster.create(silo())


def test_invalid_document_is_refused(cluster):
    with pytest.raises(InvalidDocumentError, match=r"spec.identities: has 0 entries"):
        cluster.create(silo(identities=[]))


def test_update_that_breaks_a_rule_is_refused(cluster):
    cluster.create(silo())
    changed = silo(identities=[{"key": "a" * 64, "notAfter": "2037-01-31T00:00:00Z"}])
    with pytest.raises(InvalidDocumentError, match="notAfter is immutable"):
        cluster.apply(changed)


def test_apply_with_an_old_version_is_a_conflict(cluster):
    old = cluster.create(silo())
    cluster.apply(silo(accepted=True))
    with pytest.raises(Conflict):
        cluster.apply(old)


def test_generation_counts_spec_changes_only(cluster):
    cluster.create(silo())
    assert cluster.apply(silo(accepted=True))["metadata"]["generation"] == 2
    assert cluster.patch_status("Silo", NS, "west", {"tasks": 1})["metadata"]["generation"] == 2


def test_apply_keeps_the_status_and_patch_status_keeps_the_spec(cluster):
    cluster.create(silo())
    cluster.patch_status("Silo", NS, "west", {"tasks": 1})
    assert cluster.apply(silo(accepted=True) | {"status": {"tasks": 7}})["status"] == {"tasks": 1}
    assert cluster.patch_status("Silo", NS, "west", {"tasks": 2})["spec"]["accepted"] is True


def test_equal_writes_are_no_writes(cluster):
    made = cluster.create(silo())
    version = made["metadata"]["resourceVersion"]
    assert cluster.apply(silo())["metadata"]["resourceVersion"] == version
    written = cluster.patch_status("Silo", NS, "west", {"tasks": 1})["metadata"]["resourceVersion"]
    assert cluster.patch_status("Silo", NS, "west", {"tasks": 1})["metadata"]["resourceVersion"] == written


def test_status_patch_with_an_old_version_is_a_conflict(cluster):
    version = cluster.create(silo())["metadata"]["resourceVersion"]
    cluster.patch_status("Silo", NS, "west", {"tasks": 1}, version)
    with pytest.raises(Conflict):
        cluster.patch_status("Silo", NS, "west", {"tasks": 2}, version)


def test_what_is_returned_is_a_copy(cluster):
    cluster.create(silo())["spec"]["accepted"] = True
    assert cluster.get("Silo", NS, "west")["spec"]["accepted"] is False


def test_list_selects_by_labels_and_namespace(cluster):
    cluster.create(silo("east"))
    other = silo("west")
    other["metadata"]["labels"] = {"fleet": "b"}
    cluster.create(other)
    found, _ = cluster.list("Silo", NS, {"fleet": "a"})
    assert [d["metadata"]["name"] for d in found] == ["east"]
    assert cluster.list("Silo", "elsewhere")[0] == []


def test_deleting_an_owner_deletes_what_it_owns(cluster):
    owner = cluster.create(silo())
    cluster.create(job("child", owner["metadata"]["uid"]))
    cluster.create(job("stranger"))
    cluster.delete("Silo", NS, "west")
    assert [d["metadata"]["name"] for d in cluster.list("Job", NS)[0]] == ["stranger"]
    with pytest.raises(NotFound):
        cluster.delete("Silo", NS, "west")


def test_watch_gives_changes_since_the_list_and_ends(cluster):
    cluster.create(silo("east"))
    _, version = cluster.list("Silo", NS)
    cluster.create(job("other-kind"))
    cluster.create(silo())
    cluster.patch_status("Silo", NS, "west", {"tasks": 1})
    cluster.delete("Silo", NS, "west")
    events = [(e.type, e.object["metadata"]["name"]) for e in cluster.watch("Silo", NS, version, 0.0)]
    assert events == [(EventType.ADDED, "west"), (EventType.MODIFIED, "west"), (EventType.DELETED, "west")]


def test_watch_wakes_on_a_change(cluster):
    _, version = cluster.list("Silo", NS)
    timer = threading.Timer(0.05, lambda: cluster.create(silo()))
    timer.start()
    event = next(cluster.watch("Silo", NS, version, 10.0))
    timer.join()
    assert event.object["metadata"]["name"] == "west"


def test_watch_from_too_long_ago_is_gone(cluster, monkeypatch):
    monkeypatch.setattr("fedgestalt_operator.kube.memory._KEPT_EVENTS", 3)
    for i in range(6):
        cluster.create(job(f"job-{i}"))
    with pytest.raises(Gone):
        next(cluster.watch("Job", NS, "0", 0.0))


def test_deleted_object_does_not_come_back_by_a_status_patch(cluster):
    cluster.create(silo())
    cluster.delete("Silo", NS, "west")
    with pytest.raises(NotFound):
        cluster.patch_status("Silo", NS, "west", {"tasks": 1})
