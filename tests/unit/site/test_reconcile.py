"""The site's reconciler: tasks and grants to the agent's folder, what it says to the cluster, and nothing without need."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.files import write_atomic
from fedgestalt.silo.grant import GrantFiles
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.site.folder import Folder
from fedgestalt_operator.site.reconcile import SiteReconciler

from .waiting import until

SPACE = "site"
HEAD = {"apiVersion": "fedgestalt.org/v1alpha1"}


class Site:
    """A cluster, a folder, an agent whose words the test writes, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cluster = folder / "shared", MemoryCluster()
        self.time = 1_800_000_000.0
        self.restart()

    def restart(self) -> None:
        self.site = SiteReconciler(self.cluster, Folder(self.folder), namespace=SPACE, now=lambda: self.time)

    def task(self, name: str, kind: str = "Enrol") -> None:
        spec = {"silo": "west", "kind": kind, "roundUID": "1" * 8, "digest": "d" * 64, "attempt": 1}
        metadata = {"name": name, "namespace": SPACE}
        self.cluster.create({**HEAD, "kind": "SiloTask", "metadata": metadata, "spec": spec})

    def grant(self, name: str = "g", **changes: Any) -> str:
        """Create a grant; returns its uid."""
        spec = {
            "hub": "a" * 64,
            "operations": ["Train"],
            "purposes": ["DUO:0000006"],
            "dataset": "faces",
            "peers": [format(i, "064x") for i in (1, 2)],
            "minSilos": 3,
            "notAfter": "2027-01-20T00:00:00Z",
            **changes,
        }
        metadata = {"name": name, "namespace": SPACE}
        made = self.cluster.create({**HEAD, "kind": "ParticipationGrant", "metadata": metadata, "spec": spec})
        return str(made["metadata"]["uid"])

    def revoke(self, name: str = "g") -> None:
        document = self.cluster.get("ParticipationGrant", SPACE, name)
        document["spec"]["revoked"] = True
        self.cluster.apply(document)

    def say(self, name: str, **status: Any) -> None:
        write_atomic(self.folder / "status" / f"{name}.json", json.dumps(status).encode())

    def count(self, uid: str, used: int) -> None:
        uses = {f"uid:{uid}": {"name": "g", "used": used, "lastUsed": 1_799_999_000.0}}
        content = {"unreadable": False, "grants": uses if used else {}}
        write_atomic(self.folder / "ledger.json", json.dumps(content).encode())

    def given(self) -> list[str]:
        return sorted(path.stem for path in (self.folder / "tasks").iterdir())

    def status(self, name: str, kind: str = "SiloTask") -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get(kind, SPACE, name).get("status", {})
        return found

    def usable(self, name: str = "g") -> tuple[str, str]:
        (condition,) = self.status(name, "ParticipationGrant")["conditions"]
        return condition["status"], condition["reason"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_task_is_given_to_the_agent_and_its_words_become_the_tasks_status(site: Site) -> None:
    site.grant()
    site.task("fg-1")
    site.site.reconcile()
    content = json.loads((site.folder / "tasks" / "fg-1.json").read_text())
    assert (content["name"], content["spec"]["kind"]) == ("fg-1", "Enrol")
    assert site.status("fg-1") == {"phase": "Pending", "percent": 0, "observedGeneration": 1}
    site.say("fg-1", phase="Running", fraction=0.37, message="m0 t=1")
    site.site.reconcile()
    assert site.status("fg-1") == {
        "phase": "Running",
        "percent": 35,
        "message": "m0 t=1",
        "observedGeneration": 1,
    }


def test_no_enrolment_is_given_without_a_usable_grant_but_it_waits_and_says_why(site: Site) -> None:
    site.task("fg-1")
    site.site.reconcile()
    assert site.given() == []
    assert (site.status("fg-1")["phase"], site.status("fg-1")["reason"]) == ("Pending", "NoGrant")
    uid = site.grant(uses=1)
    site.count(uid, 1)
    site.site.reconcile()
    assert site.status("fg-1")["reason"] == "UsesSpent"
    site.grant("h")
    site.site.reconcile()
    assert site.given() == ["fg-1"]
    assert "reason" not in site.status("fg-1")


def test_work_that_was_begun_stays_with_the_agent_when_the_grant_is_revoked(site: Site) -> None:
    site.grant()
    site.task("fg-1")
    site.site.reconcile()
    site.say("fg-1", phase="Succeeded", fraction=1.0)
    site.task("fg-2", "Train")
    site.revoke()
    site.site.reconcile()
    assert site.given() == ["fg-1", "fg-2"]
    (grant,) = GrantFiles(site.folder / "grants").read().usable.values()
    assert grant.revoked


def test_a_task_that_failed_is_taken_from_the_agent_and_stays_failed(site: Site) -> None:
    site.grant()
    site.task("fg-1")
    site.site.reconcile()
    site.say("fg-1", phase="Failed", reason="GrantMismatch", message="PeerNotGranted: east")
    site.site.reconcile()
    assert site.given() == []
    site.say("fg-1", phase="Running")
    site.restart()
    site.site.reconcile()
    assert (site.status("fg-1")["phase"], site.given()) == ("Failed", [])


def test_a_task_that_came_back_is_not_done_again(site: Site) -> None:
    site.grant()
    site.task("fg-1")
    site.site.reconcile()
    site.say("fg-1", phase="Failed", reason="TrainerFailed")
    site.cluster.delete("SiloTask", SPACE, "fg-1")
    site.site.reconcile()
    site.task("fg-1")
    site.site.reconcile()
    assert (site.status("fg-1")["phase"], site.given()) == ("Failed", [])


def test_a_task_that_is_gone_is_taken_from_the_agent(site: Site) -> None:
    site.grant()
    site.task("fg-1")
    site.site.reconcile()
    site.cluster.delete("SiloTask", SPACE, "fg-1")
    site.site.reconcile()
    assert site.given() == []


def test_a_grants_status_is_the_ledgers_projection(site: Site) -> None:
    uid = site.grant(uses=3)
    site.count(uid, 0)
    site.site.reconcile()
    assert site.status("g", "ParticipationGrant")["summary"] == {"used": "0/3"}
    assert site.usable() == ("True", "Granted")
    site.count(uid, 2)
    site.site.reconcile()
    status = site.status("g", "ParticipationGrant")
    assert (status["used"], status["lastUsed"]) == (2, "2027-01-15T07:43:20Z")
    site.count(uid, 3)
    site.site.reconcile()
    assert site.usable() == ("False", "UsesSpent")


def test_a_deleted_status_comes_back(site: Site) -> None:
    site.count(site.grant(), 1)
    site.task("fg-1")
    site.say("fg-1", phase="Running", fraction=0.5)
    site.site.reconcile()
    before = site.status("g", "ParticipationGrant"), site.status("fg-1")
    site.cluster.patch_status("ParticipationGrant", SPACE, "g", {})
    site.cluster.patch_status("SiloTask", SPACE, "fg-1", {})
    site.site.reconcile()
    assert (site.status("g", "ParticipationGrant"), site.status("fg-1")) == before


def test_revocation_and_end_are_shown_and_the_next_end_is_known(site: Site) -> None:
    site.count(site.grant("a"), 0)
    site.grant("b", notAfter="2027-01-16T00:00:00Z")
    plan = site.site.reconcile()
    assert plan.next_look == 1_800_057_600.0 + 300
    site.revoke("a")
    site.time = plan.next_look + 1
    site.site.reconcile()
    assert (site.usable("a"), site.usable("b")) == (("False", "GrantRevoked"), ("False", "GrantExpired"))


def test_what_was_counted_stays_shown_while_the_ledger_is_unreadable(site: Site) -> None:
    uid = site.grant(uses=3)
    site.count(uid, 2)
    site.site.reconcile()
    (site.folder / "ledger.json").write_text('{"unreadable": true, "grants": {}}')
    site.site.reconcile()
    assert site.usable() == ("Unknown", "LedgerUnreadable")
    assert site.status("g", "ParticipationGrant")["used"] == 2
    (site.folder / "ledger.json").write_text("{")
    site.site.reconcile()
    assert site.usable() == ("Unknown", "LedgerUnreadable")


def test_a_condition_keeps_its_time_until_it_changes(site: Site) -> None:
    site.count(site.grant(uses=2), 0)
    site.site.reconcile()
    (before,) = site.status("g", "ParticipationGrant")["conditions"]
    site.time += 60
    site.site.reconcile()
    site.revoke()
    site.time += 60
    site.site.reconcile()
    (after,) = site.status("g", "ParticipationGrant")["conditions"]
    assert (before["lastTransitionTime"], after["lastTransitionTime"]) == (
        "2027-01-15T08:00:00Z",
        "2027-01-15T08:02:00Z",
    )


def test_nothing_is_written_when_nothing_changes(site: Site) -> None:
    site.count(site.grant(uses=2), 1)
    site.task("fg-1")
    site.task("fg-2", "Train")
    site.say("fg-1", phase="Running", fraction=0.5)
    site.site.reconcile()
    files = {path: path.stat().st_ino for path in site.folder.rglob("*") if path.is_file()}
    version = site.cluster.list("SiloTask", SPACE)[1]
    for _ in range(10):
        site.time += 60
        site.restart()
        site.site.reconcile()
    assert site.cluster.list("SiloTask", SPACE)[1] == version
    assert {path: path.stat().st_ino for path in site.folder.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize("text", ["{", "[]", '{"phase": "Dancing"}', " " * (2 << 20)])
def test_a_status_that_cannot_be_read_hides_no_other_one(site: Site, text: str) -> None:
    site.grant()
    site.task("fg-1")
    site.task("fg-2")
    (site.folder / "status" / "fg-1.json").write_text(text)
    site.say("fg-2", phase="Succeeded", fraction=1.0)
    site.site.reconcile()
    assert site.status("fg-2")["phase"] == "Succeeded"


def test_what_another_version_wrote_is_left_out_and_hides_no_other_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.grant()
    site.task("fg-1")
    site.task("fg-2")
    listed = site.cluster.list

    def newer(kind: str, *place: Any) -> Any:
        documents, version = listed(kind, *place)
        for document in documents:
            if document["metadata"]["name"] == "fg-1":
                document["spec"]["kind"] = "Dance"
        return documents, version

    monkeypatch.setattr(site.cluster, "list", newer)
    plan = site.site.reconcile()
    assert site.given() == ["fg-2"]
    assert "SiloTask fg-1" in plan.problems[0]


def test_a_deleted_grant_is_gone_for_the_agent(site: Site) -> None:
    site.grant()
    site.site.reconcile()
    assert GrantFiles(site.folder / "grants").read().usable
    site.cluster.delete("ParticipationGrant", SPACE, "g")
    site.site.reconcile()
    assert not GrantFiles(site.folder / "grants").read().usable


def test_the_agent_tells_grants_of_one_name_apart_as_the_ledger_does(site: Site) -> None:
    uid = site.grant()
    site.site.reconcile()
    assert list(GrantFiles(site.folder / "grants").read().usable) == [f"uid:{uid}"]


def test_a_running_reconciler_follows_cluster_and_folder_and_ends_on_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgestalt_operator.site.reconcile.WATCH_SECONDS", 0.1)
    monkeypatch.setattr("fedgestalt_operator.site.reconcile.TICK_SECONDS", 0.02)
    runner = threading.Thread(target=site.site.run)
    runner.start()
    try:
        site.grant()
        site.task("fg-1")
        until(lambda: site.given() == ["fg-1"])
        site.say("fg-1", phase="Succeeded", fraction=1.0)
        until(lambda: site.status("fg-1").get("phase") == "Succeeded")
    finally:
        site.site.stop()
        runner.join(30)
    assert not runner.is_alive()
