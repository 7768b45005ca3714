"""The cluster port means the same in memory and over a real API server: one suite for both adapters."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fedgestalt_operator.kube.errors import AlreadyExists, Conflict, Gone, NotFound
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.port import Cluster, Event, EventType

Document = dict[str, Any]


@pytest.fixture(params=["memory", pytest.param("api_server", marks=pytest.mark.cluster)])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    if request.param == "memory":
        yield MemoryCluster()
        return
    from fedgestalt_operator.kube.api_server import ApiServerCluster

    server = request.getfixturevalue("api_server")
    adapter = ApiServerCluster(server.kubeconfig())
    yield adapter
    adapter.close()


@pytest.fixture
def ns(cluster: Cluster) -> str:
    name = f"port-{uuid.uuid4().hex[:10]}"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def silo(ns: str, name: str = "west", *, labels: dict[str, str] | None = None, **spec: Any) -> Document:
    identities = [{"key": "a" * 64, "notAfter": "2027-01-31T00:00:00Z"}]
    return {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "Silo",
        "metadata": {"name": name, "namespace": ns, "labels": labels or {"fleet": "a"}},
        "spec": {"identities": identities, **spec},
    }


def job(ns: str, name: str, labels: dict[str, str] | None = None) -> Document:
    container = {"name": "main", "image": "example.org/none:1"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": ns, "labels": labels or {}},
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
    }


def config(ns: str, name: str, **data: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": ns},
        "data": data,
    }


def meta(document: Document, field: str) -> Any:
    return document["metadata"][field]


def look(cluster: Cluster) -> float:
    """Seconds for a watch of what has happened already; a real server ends watches on whole seconds."""
    return 0.0 if isinstance(cluster, MemoryCluster) else 1.0


def changes(cluster: Cluster, kind: str, ns: str, version: str) -> list[tuple[str, str]]:
    events = cluster.watch(kind, ns, version, look(cluster))
    return [(e.type.value, meta(e.object, "name")) for e in events if e.type != EventType.BOOKMARK]


# --- create, get, list


def test_what_was_created_is_what_is_got(cluster, ns):
    made = cluster.create(silo(ns) | {"status": {"version": "9"}})
    assert made["spec"]["accepted"] is False
    assert "status" not in made
    assert meta(made, "generation") == 1
    assert meta(made, "creationTimestamp").endswith("Z")
    assert len(meta(made, "uid")) == 36
    assert "managedFields" not in made["metadata"]
    assert cluster.get("Silo", ns, "west") == made


def test_creating_twice_is_already_exists(cluster, ns):
    cluster.create(silo(ns))
    with pytest.raises(AlreadyExists, match="west"):
        cluster.create(silo(ns))


def test_an_object_made_again_has_another_uid(cluster, ns):
    old = cluster.create(silo(ns))
    cluster.delete("Silo", ns, "west")
    assert meta(cluster.create(silo(ns)), "uid") != meta(old, "uid")


@pytest.mark.parametrize(
    ("spec", "about"),
    [
        ({"identities": []}, "identities"),
        ({"unheardOf": 1}, "unheardOf"),
        ({"displayName": "x" * 129}, "displayName"),
    ],
    ids=["bound", "unknown-field", "length"],
)
def test_invalid_document_is_a_value_error_that_names_the_field(cluster, ns, spec, about):
    with pytest.raises(ValueError, match=about):
        cluster.create(silo(ns, **spec))
    with pytest.raises(ValueError, match=about):
        cluster.apply(silo(ns, **spec))


def test_rule_that_a_document_breaks_is_a_value_error_with_its_message(cluster, ns):
    with pytest.raises(ValueError, match="the name hub is the coordinating cluster's"):
        cluster.create(silo(ns, "hub"))


@pytest.mark.parametrize("kind", ["Silo", "Job", "ConfigMap"])
def test_what_is_not_there_is_not_found(cluster, ns, kind):
    with pytest.raises(NotFound, match="west"):
        cluster.get(kind, ns, "west")
    with pytest.raises(NotFound, match="west"):
        cluster.delete(kind, ns, "west")


def test_list_is_sorted_and_selects_by_all_labels_in_one_namespace(cluster, ns):
    for name, labels in [("b", {"x": "1", "y": "2"}), ("a", {"x": "1"}), ("c", {"x": "2", "y": "2"})]:
        cluster.create(job(ns, name, labels))

    def names(labels: dict[str, str] | None = None, namespace: str = ns) -> list[str]:
        return [meta(d, "name") for d in cluster.list("Job", namespace, labels)[0]]

    assert names() == ["a", "b", "c"]
    assert names({"x": "1"}) == ["a", "b"]
    assert names({"x": "1", "y": "2"}) == ["b"]
    assert names({"x": "3"}) == []
    assert names(namespace="elsewhere") == []


def test_listed_documents_say_what_they_are(cluster, ns):
    cluster.create(job(ns, "a"))
    cluster.create(silo(ns))
    for kind, version in (("Job", "batch/v1"), ("Silo", "fedgestalt.org/v1alpha1")):
        (found,), _ = cluster.list(kind, ns)
        assert (found["kind"], found["apiVersion"]) == (kind, version)


def test_list_of_many_pages_is_complete(cluster, ns, monkeypatch):
    monkeypatch.setattr("fedgestalt_operator.kube.api_server.PAGE", 3)
    for i in range(8):
        cluster.create(config(ns, f"many-{i}"))
    found, version = cluster.list("ConfigMap", ns)
    assert [n for d in found if (n := meta(d, "name")).startswith("many-")] == [f"many-{i}" for i in range(8)]
    cluster.create(config(ns, "later"))
    assert changes(cluster, "ConfigMap", ns, version) == [("ADDED", "later")]


# --- apply


def test_apply_creates_and_then_replaces_what_it_applied(cluster, ns):
    first = cluster.apply(silo(ns, displayName="West", labels={"fleet": "a", "old": "1"}))
    second = cluster.apply(silo(ns, accepted=True, labels={"fleet": "b"}))
    assert meta(second, "uid") == meta(first, "uid")
    assert second["spec"]["accepted"] is True
    assert second["spec"]["displayName"] == ""
    assert meta(second, "labels") == {"fleet": "b"}


def test_equal_apply_is_no_write(cluster, ns):
    first = cluster.apply(silo(ns))
    assert cluster.apply(silo(ns)) == first
    assert cluster.get("Silo", ns, "west") == first


def test_what_was_read_can_be_applied(cluster, ns):
    cluster.apply(silo(ns))
    read = cluster.get("Silo", ns, "west")
    read["spec"]["accepted"] = True
    assert cluster.apply(read)["spec"]["accepted"] is True


def test_apply_with_an_old_version_is_a_conflict(cluster, ns):
    old = cluster.apply(silo(ns))
    cluster.apply(silo(ns, accepted=True))
    with pytest.raises(Conflict, match="west"):
        cluster.apply(old)


def test_what_was_read_before_its_object_went_does_not_bring_it_back(cluster, ns):
    old = cluster.apply(silo(ns))
    cluster.delete("Silo", ns, "west")
    del old["metadata"]["resourceVersion"]
    with pytest.raises(Conflict, match="west"):
        cluster.apply(old)
    fresh = cluster.create(silo(ns))
    with pytest.raises(Conflict, match="west"):
        cluster.apply(old)
    assert cluster.get("Silo", ns, "west") == fresh


def test_what_was_read_elsewhere_can_be_created(cluster, ns):
    read = cluster.create(silo(ns))
    read["metadata"]["name"] = "east"
    assert meta(cluster.create(read), "uid") != meta(read, "uid")


def test_change_that_a_rule_forbids_is_a_value_error(cluster, ns):
    cluster.apply(silo(ns))
    with pytest.raises(ValueError, match="notAfter is immutable"):
        cluster.apply(silo(ns, identities=[{"key": "a" * 64, "notAfter": "2037-01-31T00:00:00Z"}]))


def test_generation_counts_changes_of_the_spec_only(cluster, ns):
    cluster.apply(silo(ns))
    assert meta(cluster.apply(silo(ns, labels={"fleet": "b"})), "generation") == 1
    assert meta(cluster.apply(silo(ns, accepted=True, labels={"fleet": "b"})), "generation") == 2
    assert meta(cluster.patch_status("Silo", ns, "west", {"tasks": 1}), "generation") == 2


# --- patch_status


def test_patch_status_replaces_the_whole_status(cluster, ns):
    cluster.create(silo(ns))
    cluster.patch_status("Silo", ns, "west", {"version": "1", "tasks": 3})
    assert cluster.patch_status("Silo", ns, "west", {"tasks": 1})["status"] == {"tasks": 1}
    assert cluster.get("Silo", ns, "west")["status"] == {"tasks": 1}


def test_apply_keeps_the_status_and_patch_status_keeps_the_spec(cluster, ns):
    cluster.apply(silo(ns))
    cluster.patch_status("Silo", ns, "west", {"tasks": 1})
    assert cluster.apply(silo(ns, accepted=True) | {"status": {"tasks": 7}})["status"] == {"tasks": 1}
    assert cluster.patch_status("Silo", ns, "west", {"tasks": 2})["spec"]["accepted"] is True


def test_equal_status_is_no_write(cluster, ns):
    cluster.create(silo(ns))
    written = cluster.patch_status("Silo", ns, "west", {"tasks": 1})
    _, version = cluster.list("Silo", ns)
    assert cluster.patch_status("Silo", ns, "west", {"tasks": 1}) == written
    assert cluster.patch_status("Silo", ns, "west", {"tasks": 1}, meta(written, "resourceVersion")) == written
    assert changes(cluster, "Silo", ns, version) == []


def test_status_for_an_old_version_is_a_conflict_and_writes_nothing(cluster, ns):
    version = meta(cluster.create(silo(ns)), "resourceVersion")
    cluster.patch_status("Silo", ns, "west", {"tasks": 1}, version)
    with pytest.raises(Conflict, match="west"):
        cluster.patch_status("Silo", ns, "west", {"tasks": 2}, version)
    assert cluster.get("Silo", ns, "west")["status"] == {"tasks": 1}


@pytest.mark.parametrize("status", [{"tasks": "many"}, {"unheardOf": 1}], ids=["type", "unknown-field"])
def test_invalid_status_is_a_value_error_and_writes_nothing(cluster, ns, status):
    made = cluster.create(silo(ns))
    with pytest.raises(ValueError, match=next(iter(status))):
        cluster.patch_status("Silo", ns, "west", status)
    with pytest.raises(ValueError, match=next(iter(status))):
        cluster.patch_status("Silo", ns, "west", status, meta(made, "resourceVersion"))
    assert cluster.get("Silo", ns, "west") == made


def test_status_of_a_deleted_object_is_not_found(cluster, ns):
    cluster.create(silo(ns))
    cluster.delete("Silo", ns, "west")
    with pytest.raises(NotFound, match="west"):
        cluster.patch_status("Silo", ns, "west", {"tasks": 1})


def test_writers_that_compare_versions_lose_nothing(cluster, ns):
    cluster.create(silo(ns))

    def count(_: int) -> None:
        while True:
            read = cluster.get("Silo", ns, "west")
            tasks = read.get("status", {}).get("tasks", 0)
            try:
                cluster.patch_status("Silo", ns, "west", {"tasks": tasks + 1}, meta(read, "resourceVersion"))
                return
            except Conflict:
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(12)))
    assert cluster.get("Silo", ns, "west")["status"] == {"tasks": 12}


# --- delete


def test_delete_by_uid_spares_an_object_made_since_under_the_same_name(cluster, ns):
    old = meta(cluster.create(silo(ns)), "uid")
    cluster.delete("Silo", ns, "west", old)
    fresh = cluster.create(silo(ns))
    with pytest.raises(Conflict, match="west"):
        cluster.delete("Silo", ns, "west", old)
    assert cluster.get("Silo", ns, "west") == fresh
    cluster.delete("Silo", ns, "west", meta(fresh, "uid"))
    with pytest.raises(NotFound):
        cluster.delete("Silo", ns, "west", old)


def test_object_with_a_finalizer_stays_until_it_is_taken_away(cluster, ns):
    held = silo(ns)
    held["metadata"]["finalizers"] = ["fedgestalt.org/held"]
    cluster.apply(held)
    cluster.delete("Silo", ns, "west")
    cluster.delete("Silo", ns, "west")
    assert meta(cluster.get("Silo", ns, "west"), "deletionTimestamp").endswith("Z")
    with pytest.raises(AlreadyExists):
        cluster.create(silo(ns))
    _, version = cluster.list("Silo", ns)
    cluster.apply(silo(ns))
    with pytest.raises(NotFound):
        cluster.get("Silo", ns, "west")
    assert changes(cluster, "Silo", ns, version)[-1] == ("DELETED", "west")


# --- watch


def test_watch_gives_changes_since_the_list_and_ends(cluster, ns):
    cluster.create(silo(ns, "east"))
    _, version = cluster.list("Silo", ns)
    cluster.create(job(ns, "other-kind"))
    cluster.create(silo(ns))
    cluster.patch_status("Silo", ns, "west", {"tasks": 1})
    cluster.delete("Silo", ns, "west")
    assert changes(cluster, "Silo", ns, version) == [
        ("ADDED", "west"),
        ("MODIFIED", "west"),
        ("DELETED", "west"),
    ]


def test_watch_sees_one_namespace(cluster, ns):
    other = f"{ns}-other"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    _, version = cluster.list("Silo", ns)
    cluster.create(silo(other, "stranger"))
    cluster.create(silo(ns))
    assert changes(cluster, "Silo", ns, version) == [("ADDED", "west")]


def test_deleted_object_comes_in_its_last_state(cluster, ns):
    cluster.create(silo(ns))
    last = cluster.patch_status("Silo", ns, "west", {"tasks": 5})
    cluster.delete("Silo", ns, "west")
    events = list(cluster.watch("Silo", ns, meta(last, "resourceVersion"), look(cluster)))
    assert events[0].type == EventType.DELETED
    assert events[0].object["status"] == {"tasks": 5}


def test_watch_goes_on_from_the_last_event(cluster, ns):
    _, version = cluster.list("Silo", ns)
    cluster.create(silo(ns, "a"))
    cluster.create(silo(ns, "b"))
    first = _first(cluster.watch("Silo", ns, version, look(cluster)))
    assert meta(first.object, "name") == "a"
    assert changes(cluster, "Silo", ns, first.version) == [("ADDED", "b")]


def test_bookmark_is_a_version_to_watch_from(cluster, ns):
    other = f"{ns}-other"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    _, version = cluster.list("Silo", ns)
    timer = threading.Timer(0.3, lambda: cluster.create(silo(other)))
    timer.start()
    # A real server sets marks about two seconds before a watch ends.
    marks = list(cluster.watch("Silo", ns, version, max(0.6, 5 * look(cluster))))
    timer.join()
    assert {(mark.type, meta(mark.object, "name")) for mark in marks} == {(EventType.BOOKMARK, "")}
    assert int(marks[-1].version) > int(version)
    cluster.create(silo(ns))
    assert changes(cluster, "Silo", ns, marks[-1].version) == [("ADDED", "west")]


def test_watch_wakes_on_a_change(cluster, ns):
    _, version = cluster.list("Silo", ns)
    timer = threading.Timer(0.3, lambda: cluster.create(silo(ns)))
    timer.start()
    event = _first(cluster.watch("Silo", ns, version, 60.0))
    timer.join()
    assert (event.type, meta(event.object, "name")) == (EventType.ADDED, "west")


def test_watch_from_a_version_that_is_no_longer_kept_is_gone(cluster, ns, monkeypatch):
    monkeypatch.setattr("fedgestalt_operator.kube.memory._KEPT_EVENTS", 1)
    cluster.create(silo(ns, "a"))
    cluster.create(silo(ns, "b"))
    with pytest.raises(Gone):  # a real server keeps nothing from before it began to serve the kind
        _first(cluster.watch("Silo", ns, "1", look(cluster)))


def _first(events: Iterator[Event]) -> Event:
    found = next(event for event in events if event.type != EventType.BOOKMARK)
    events.close()  # type: ignore[attr-defined]
    return found
