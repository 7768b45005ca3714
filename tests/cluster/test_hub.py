"""The hub's operator as the chart runs it: its own entry point, its ServiceAccount, a real API server and exchange."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.secagg.messages import Kind, Message

from .api_server import ApiServer
from .hub import SECRET, Hub, round_document, running_hub

SILOS = ("east", "north", "south", "west")
TASKS = ("fedgestalt.org/silo", "fedgestalt.org/round-uid")


@pytest.fixture(scope="module")
def hub(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    namespace = api_server.namespace(f"hub-{uuid.uuid4().hex[:8]}")
    with running_hub(api_server, namespace, tmp_path_factory.mktemp("hub"), SILOS, resync=5.0) as running:
        yield running


def phase(document: dict[str, Any]) -> str:
    return str(document.get("status", {}).get("phase", ""))


def reason(document: dict[str, Any], kind: str) -> str:
    conditions = document.get("status", {}).get("conditions", ())
    return next((str(c["reason"]) for c in conditions if c["type"] == kind), "")


def enrolling(hub: Hub, name: str, **changes: Any) -> dict[str, Any]:
    """A round that was created and accepted."""
    document = round_document(name, SILOS)
    document["spec"] |= changes
    hub.create(document)
    return hub.wait_for("federationrounds", name, lambda d: phase(d) == "Enrolling")


def tasks_of(hub: Hub, uid: str) -> list[dict[str, Any]]:
    return [d for d in hub.list("silotasks") if d["spec"]["roundUID"] == uid]


def test_a_round_is_accepted_and_every_silo_gets_its_task_at_the_hub_and_at_the_exchange(hub: Hub) -> None:
    uid = enrolling(hub, "accepted")["metadata"]["uid"]
    hub.wait_for("federationrounds", "accepted", lambda _: len(tasks_of(hub, uid)) == len(SILOS))
    tasks = tasks_of(hub, uid)
    assert sorted(t["spec"]["silo"] for t in tasks) == list(SILOS)
    assert all(label in t["metadata"]["labels"] for t in tasks for label in TASKS)
    assert all(t["metadata"]["ownerReferences"][0]["uid"] == uid for t in tasks)
    for silo in SILOS:
        with hub.client(silo) as client:
            assert uid in {task.spec["roundUID"] for task in client.tasks()[0]}


def test_a_sites_word_shows_in_the_round_and_in_its_task(hub: Hub) -> None:
    uid = enrolling(hub, "heard")["metadata"]["uid"]
    name = f"fg-{uid[:8]}-enrol-west-1"
    hub.wait_for("federationrounds", "heard", lambda _: len(tasks_of(hub, uid)) == len(SILOS))
    with hub.client("west") as client:
        client.put_task_status(name, {"phase": "Running", "fraction": 0.42})
        task = hub.wait_for("silotasks", name, lambda d: d.get("status", {}).get("phase") == "Running")
        assert task["status"]["percent"] == 40
        client.put_task_status(
            name, {"phase": "Failed", "reason": "GrantMismatch", "message": "PeerNotGranted"}
        )
    hub.wait_for("silotasks", name, lambda d: d["status"]["phase"] == "Failed")

    def refused(document: dict[str, Any]) -> bool:
        silos = {s["name"]: s for s in document["status"].get("silos", ())}
        return bool(silos["west"].get("task", {}).get("reason") == "GrantMismatch")

    hub.wait_for("federationrounds", "heard", refused)


def test_a_status_that_is_deleted_comes_back_the_same(hub: Hub) -> None:
    before = enrolling(hub, "projected")["status"]
    path = f"{hub.group}/federationrounds/projected/status"
    hub.server.call("PATCH", path, {"status": None})
    after = hub.wait_for("federationrounds", "projected", lambda d: phase(d) == "Enrolling")["status"]
    assert {k: v for k, v in after.items() if k != "silos"} == {
        k: v for k, v in before.items() if k != "silos"
    }


def test_an_operator_that_was_killed_goes_on_and_does_nothing_twice(hub: Hub) -> None:
    uid = enrolling(hub, "survives")["metadata"]["uid"]
    hub.wait_for("federationrounds", "survives", lambda _: len(tasks_of(hub, uid)) == len(SILOS))
    before = {t["metadata"]["name"]: t["metadata"]["uid"] for t in tasks_of(hub, uid)}
    assert hub.operator is not None
    hub.operator.kill()
    hub.create(round_document("while-away", SILOS))
    hub.start_operator()
    hub.wait_ready()
    hub.wait_for("federationrounds", "while-away", lambda d: phase(d) == "Enrolling")
    assert {t["metadata"]["name"]: t["metadata"]["uid"] for t in tasks_of(hub, uid)} == before
    with hub.hub_client() as client:
        decisions = client.entries(uid, 0)
    assert len(decisions) == 1, "one computation, decided once"


def test_a_round_without_its_vocabulary_waits_for_it_and_says_so(hub: Hub) -> None:
    document = round_document("wordless", SILOS)
    document["spec"]["vocabulary"]["name"] = "nowhere"
    hub.create(document)
    found = hub.wait_for("federationrounds", "wordless", lambda d: phase(d) == "Pending")
    (wait,) = found["status"]["waitingFor"]
    assert (wait["who"], wait["then"]) == ("coordinator", "Failed: VocabularyUnknown")
    assert "nowhere" in wait["what"]


def test_a_round_with_a_silo_that_nobody_registered_fails_at_its_start_deadline(hub: Hub) -> None:
    document = round_document("stranger", [*SILOS, "nobody"], start=60)
    document["spec"]["deadlines"]["start"] = 1
    hub.create(document)
    found = hub.wait_for("federationrounds", "stranger", lambda d: phase(d) == "Failed")
    assert reason(found, "Succeeded") == "SilosNotAccepted"


def test_suspending_and_resuming_shows_in_the_conditions(hub: Hub) -> None:
    enrolling(hub, "paused")
    path = f"{hub.group}/federationrounds/paused"
    hub.server.call("PATCH", path, {"spec": {"suspend": True}})
    hub.wait_for("federationrounds", "paused", lambda d: reason(d, "Suspended") == "Requested")
    hub.server.call("PATCH", path, {"spec": {"suspend": False}})
    hub.wait_for("federationrounds", "paused", lambda d: reason(d, "Suspended") == "Resumed")


def test_a_round_that_another_controller_manages_is_left_alone(hub: Hub) -> None:
    document = round_document("elsewhere", SILOS)
    document["spec"]["managedBy"] = "example.org/other"
    hub.create(document)
    enrolling(hub, "after-elsewhere")
    assert "status" not in hub.get("federationrounds", "elsewhere")


def test_a_round_that_is_over_goes_after_its_time_to_live_and_so_do_its_tasks(hub: Hub) -> None:
    uid = enrolling(hub, "short", deadlines={"start": 2, "active": 86400}, ttlAfterFinished=0)["metadata"][
        "uid"
    ]

    def tasks() -> list[str]:
        with hub.hub_client() as client:
            return [task.name for task in client.round_tasks(uid)]

    assert wait_until(lambda: "short" not in [d["metadata"]["name"] for d in hub.list("federationrounds")])
    assert wait_until(lambda: not tasks()), "the exchange gives the silos a deleted round's tasks"


def failures(hub: Hub, uid: str) -> list[str]:
    """Reasons of the failures that a silo reads on a round's board."""
    with hub.client("west") as client:
        messages = [Message.decode(entry.message) for entry in client.entries(uid, 0)]
    return [str(m.body["reason"]) for m in messages if m.slot.kind is Kind.FAILED]


def rounds_at_the_exchange(hub: Hub) -> frozenset[str]:
    with hub.hub_client() as client:
        return client.rounds()


def test_the_silos_of_a_running_round_that_is_deleted_are_told_and_their_tasks_are_taken_back(
    hub: Hub,
) -> None:
    uid = enrolling(hub, "deleted")["metadata"]["uid"]
    assert wait_until(lambda: uid in rounds_at_the_exchange(hub))
    hub.server.call("DELETE", f"{hub.group}/federationrounds/deleted")
    assert wait_until(lambda: uid not in rounds_at_the_exchange(hub))
    assert failures(hub, uid) == ["Deleted"]


def test_a_round_that_was_deleted_while_no_operator_ran_is_found_at_the_next_start(hub: Hub) -> None:
    uid = enrolling(hub, "deleted-unseen")["metadata"]["uid"]
    kept = enrolling(hub, "kept")["metadata"]["uid"]
    assert wait_until(lambda: {uid, kept} <= rounds_at_the_exchange(hub))
    assert hub.operator is not None
    hub.operator.kill()
    hub.server.call("DELETE", f"{hub.group}/federationrounds/deleted-unseen")
    hub.start_operator()
    hub.wait_ready()
    assert wait_until(lambda: uid not in rounds_at_the_exchange(hub))
    assert failures(hub, uid) == ["Deleted"]
    assert kept in rounds_at_the_exchange(hub)
    assert failures(hub, kept) == []


def wait_until(ready: Any, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def test_a_revoked_silo_is_refused_at_its_next_request(hub: Hub) -> None:
    from fedgestalt.exchange.errors import RevokedError

    path = f"{hub.group}/silos/south"
    hub.server.call("PATCH", path, {"spec": {"accepted": False}})
    try:
        hub.wait_for("silos", "south", lambda d: reason(d, "Ready") == "NotAccepted")
        with hub.client("south") as client, pytest.raises(RevokedError):
            client.tasks()
    finally:
        hub.server.call("PATCH", path, {"spec": {"accepted": True}})
        hub.wait_for("silos", "south", lambda d: reason(d, "Accepted") == "Accepted")


def test_a_silo_that_is_revoked_while_the_exchange_is_away_is_shown_so_and_refused_when_it_is_back(
    hub: Hub,
) -> None:
    from fedgestalt.exchange.errors import RevokedError

    path = f"{hub.group}/silos/north"
    assert hub.exchange is not None
    hub.exchange.stop()
    hub.server.call("PATCH", path, {"spec": {"accepted": False}})
    try:
        hub.wait_for("silos", "north", lambda d: reason(d, "Accepted") == "RevocationPending", 90)
        hub.start_exchange()
        hub.wait_for("silos", "north", lambda d: reason(d, "Accepted") == "NotAccepted", 90)
        with hub.client("north") as client, pytest.raises(RevokedError):
            client.tasks()
    finally:
        hub.server.call("PATCH", path, {"spec": {"accepted": True}})
        hub.wait_for("silos", "north", lambda d: reason(d, "Accepted") == "Accepted")


def test_an_exchange_that_is_away_is_said_and_it_goes_on_when_it_is_back(hub: Hub) -> None:
    assert hub.exchange is not None
    hub.exchange.stop()
    hub.wait_for("silos", "west", lambda d: reason(d, "Connected") == "ExchangeUnreachable", 90)
    hub.create(round_document("patient", SILOS))
    hub.start_exchange()
    hub.wait_for("federationrounds", "patient", lambda d: phase(d) == "Enrolling", 120)
    hub.wait_for("silos", "west", lambda d: reason(d, "Connected") != "ExchangeUnreachable")


def test_the_operator_reads_no_secret_but_its_own(hub: Hub, tmp_path: Path) -> None:
    user = f"system:serviceaccount:{hub.namespace}:fedgestalt-operator"
    client = hub.server.client(user)
    own = f"/api/v1/namespaces/{hub.namespace}/secrets"
    assert client.get(f"{own}/{SECRET}").status_code == 200
    assert client.get(own).status_code == 403
    assert client.get(f"{own}/another").status_code == 403
    assert client.get("/api/v1/namespaces/default/configmaps/x").status_code == 403


def test_it_ends_at_sigterm_with_code_0(hub: Hub) -> None:
    assert hub.operator is not None
    hub.operator.stop(grace=30)
    try:
        assert hub.operator.returncode == 0
    finally:
        hub.start_operator()
        hub.wait_ready()
