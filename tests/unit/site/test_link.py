"""The link: what lies on the exchange stands in the cluster and back, through loss, restarts and skewed clocks."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from fedgestalt.exchange.errors import BoardFullError, Code, ExchangeError, UnreachableError, refused
from fedgestalt_operator.api.reasons import LinkReason
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.errors import ClusterUnavailable, Forbidden
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.validate import validate_file
from fedgestalt_operator.site.exchange import GivenRelease, GivenTask
from fedgestalt_operator.site.link import BEAT_SECONDS, Link, LinkState, Way

from .waiting import until

HUB, SPACE = "ab" * 32, "site"
DONE = {"phase": "Succeeded", "fraction": 1.0}


def spec(kind: str = "Enrol", **changes: Any) -> dict[str, Any]:
    return {
        "silo": "west",
        "kind": kind,
        "roundUID": "11111111-2222-4333-8444-555555555555",
        "digest": "d" * 64,
        "attempt": 1,
        **changes,
    }


@dataclass
class Exchange:
    """An exchange in memory that can be away."""

    given: dict[str, GivenTask] = field(default_factory=dict)
    shown: list[GivenRelease] = field(default_factory=list)
    beats: list[str] = field(default_factory=list)
    puts: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    failure: ExchangeError | None = None
    revision: int = 1

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure

    def give(self, name: str, **changes: Any) -> None:
        self.given[name] = GivenTask(name, spec(**changes), {})
        self.revision += 1

    def tasks(self, after: int, wait: float) -> tuple[list[GivenTask], int]:
        self._answer()
        return list(self.given.values()), self.revision

    def releases(self, after: int, wait: float) -> tuple[list[GivenRelease], int]:
        self._answer()
        return self.shown, 1

    def put_task_status(self, name: str, status: Mapping[str, Any]) -> bool:
        self._answer()
        if name not in self.given:
            return False
        self.puts.append((name, status))
        self.given[name] = GivenTask(name, self.given[name].spec, dict(status))
        return True

    def heartbeat(self, version: str) -> None:
        self._answer()
        self.beats.append(version)


class Site:
    """A site's cluster and link; `restart` forgets what the link remembers."""

    def __init__(self) -> None:
        self.exchange, self.cluster = Exchange(), MemoryCluster()
        self.time = 1000.0
        self.states: list[LinkState] = []
        self.restart()

    def restart(self) -> None:
        self.link = Link(
            self.cluster,
            self.exchange,
            namespace=SPACE,
            silo="west",
            hub=HUB,
            version="0.1.0",
            now=lambda: self.time,
            clock=lambda: self.time,
            on_state=self.states.append,
        )

    def names(self) -> list[str]:
        return [d["metadata"]["name"] for d in self.cluster.list("SiloTask", SPACE)[0]]

    def say(self, name: str, phase: str, percent: int = 0) -> None:
        self.cluster.patch_status("SiloTask", SPACE, name, {"phase": phase, "percent": percent})


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_task_of_the_hub_comes_into_the_cluster_with_the_hubs_label(site: Site) -> None:
    site.exchange.give("fg-1", kind="Train")
    site.link.tasks(0)
    task = site.cluster.get("SiloTask", SPACE, "fg-1")
    assert task["spec"] == {**spec("Train"), "parameters": {}}
    assert task["metadata"]["labels"]["fedgestalt.org/hub"] == HUB[:32]


def test_mirroring_again_writes_nothing(site: Site) -> None:
    site.exchange.give("fg-1")
    site.link.tasks(0)
    before = site.cluster.list("SiloTask", SPACE)
    site.link.tasks(0)
    site.restart()
    site.link.tasks(0)
    assert site.cluster.list("SiloTask", SPACE) == before


def test_a_task_that_the_hub_took_back_goes_and_a_stranger_stays(site: Site) -> None:
    site.exchange.give("fg-1")
    site.link.tasks(0)
    head = {"apiVersion": "fedgestalt.org/v1alpha1", "kind": "SiloTask"}
    site.cluster.create({**head, "metadata": {"name": "own", "namespace": SPACE}, "spec": spec()})
    site.exchange.given.clear()
    site.link.tasks(0)
    assert site.names() == ["own"]


def test_a_terminal_task_that_was_deleted_here_is_never_created_again(site: Site) -> None:
    """Lesson 4: a finished thing that somebody deletes is made again, in a loop. The record of its end wins."""
    site.exchange.give("fg-1")
    site.link.tasks(0)
    site.say("fg-1", "Succeeded", 100)
    site.link.up()
    site.cluster.delete("SiloTask", SPACE, "fg-1")
    site.link.tasks(0)
    site.restart()
    site.link.tasks(0)
    assert site.names() == []
    assert site.exchange.given["fg-1"].status == DONE


def test_a_running_task_that_was_deleted_here_comes_back(site: Site) -> None:
    site.exchange.give("fg-1")
    site.link.tasks(0)
    site.cluster.delete("SiloTask", SPACE, "fg-1")
    site.link.tasks(0)
    assert site.names() == ["fg-1"]


def test_tasks_of_other_silos_and_invalid_ones_are_left_out_and_hide_no_other(site: Site) -> None:
    site.exchange.give("fg-1", silo="east")
    site.exchange.give("fg-2", attempt=0)
    site.exchange.give("fg-3", pod={"image": "evil"})
    site.exchange.give("fg-4")
    site.link.tasks(0)
    assert site.names() == ["fg-4"]


def test_status_is_told_once_and_only_what_the_exchange_has_otherwise(site: Site) -> None:
    site.exchange.give("fg-1")
    site.link.tasks(0)
    site.link.up()
    assert site.exchange.puts == []
    site.say("fg-1", "Running", 35)
    for _ in range(3):
        site.link.up()
    assert site.exchange.puts == [("fg-1", {"phase": "Running", "fraction": 0.35})]


def test_what_ended_while_the_hub_was_away_is_told_after_a_restart(site: Site) -> None:
    site.exchange.give("fg-1")
    site.link.tasks(0)
    site.exchange.failure = UnreachableError("no answer")
    site.say("fg-1", "Succeeded", 100)
    assert not site.link.step(Way.UP, site.link.up)
    site.restart()
    site.exchange.failure = None
    site.link.up()
    assert site.exchange.puts == [], "what the exchange has is not known yet"
    site.link.tasks(0)
    site.link.up()
    assert site.exchange.given["fg-1"].status == DONE


def test_a_status_that_the_exchange_lost_is_told_again(site: Site) -> None:
    site.exchange.give("fg-1")
    site.link.tasks(0)
    site.say("fg-1", "Running", 50)
    site.link.up()
    site.exchange.give("fg-1")
    site.link.tasks(0)
    site.link.up()
    assert len(site.exchange.puts) == 2


def test_a_status_of_a_task_that_was_taken_back_meanwhile_is_no_error(site: Site) -> None:
    site.exchange.give("fg-1")
    site.link.tasks(0)
    site.say("fg-1", "Running")
    site.exchange.given.clear()
    assert site.link.step(Way.UP, site.link.up)
    assert site.exchange.puts == []


def test_heartbeats_come_every_twenty_seconds_with_the_version(site: Site) -> None:
    for _ in range(3 * int(BEAT_SECONDS)):
        site.link.up()
        site.time += 1
    assert site.exchange.beats == ["0.1.0"] * 3


def release() -> dict[str, Any]:
    return validate_file(crd_folder() / "examples" / "valid" / "release-train.yaml")[0]


def test_a_release_comes_once_and_is_not_taken_away_by_the_hub(site: Site) -> None:
    document = release()
    site.exchange.shown = [GivenRelease("gm-1", document["spec"])]
    site.link.releases(0)
    site.link.releases(0)
    found = site.cluster.get("Release", SPACE, "gm-1")
    assert found["spec"] == document["spec"]
    site.exchange.shown = []
    site.link.releases(0)
    assert site.cluster.get("Release", SPACE, "gm-1") == found


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (UnreachableError("no answer"), LinkReason.LINK_LOST),
        (BoardFullError(Code.BOARD_FULL, "full"), LinkReason.LINK_LOST),
        (refused(Code.REGISTRY_UNREADABLE, "broken"), LinkReason.LINK_LOST),
        (refused(Code.REVOKED, "west"), LinkReason.REVOKED),
        (refused(Code.CLOCK_SKEWED, "400 s ahead"), LinkReason.CLOCK_SKEWED),
        (refused(Code.UNAUTHENTICATED, "another key"), LinkReason.REFUSED),
    ],
)
def test_each_loss_has_its_own_state_and_ends_by_itself(
    site: Site, failure: ExchangeError, reason: LinkReason
) -> None:
    assert site.link.step(Way.TASKS, lambda: site.link.tasks(0))
    site.time += 10
    site.exchange.failure = failure
    for _ in range(3):
        assert not site.link.step(Way.TASKS, lambda: site.link.tasks(0))
        assert not site.link.step(Way.UP, site.link.up)
        site.time += 10
    assert (site.link.state.reason, site.link.state.since) == (reason, 1010.0)
    site.exchange.failure = None
    site.link.step(Way.TASKS, lambda: site.link.tasks(0))
    assert site.link.state.reason is reason, "the other way was not heard since"
    site.link.step(Way.UP, site.link.up)
    assert [state.reason for state in site.states] == [LinkReason.CONNECTED, reason, LinkReason.CONNECTED]


def test_a_link_is_lost_until_it_was_tried(site: Site) -> None:
    assert site.link.state.reason is LinkReason.LINK_LOST


def test_nothing_is_skipped_when_the_sites_own_cluster_was_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.exchange.give("fg-1")

    def away(*_: Any) -> None:
        raise ClusterUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(site.cluster, "create", away)
        assert not site.link.step(Way.TASKS, lambda: site.link.tasks(0))
    assert site.link.step(Way.TASKS, lambda: site.link.tasks(0))
    assert site.names() == ["fg-1"]


def test_what_nobody_expected_is_told_and_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def garbled(*_: Any) -> None:
        raise ValueError("a proxy's page")

    with monkeypatch.context() as patch:
        patch.setattr(site.exchange, "tasks", garbled)
        assert not site.link.step(Way.TASKS, lambda: site.link.tasks(0))
    assert site.link.state.reason is LinkReason.REFUSED
    assert site.link.step(Way.TASKS, lambda: site.link.tasks(0))
    assert site.link.state.reason is LinkReason.CONNECTED


def test_a_running_link_goes_on_after_a_loss_and_ends_on_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgestalt_operator.site.link.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("fedgestalt_operator.site.link.WATCH_SECONDS", 0.05)
    polled = site.exchange.tasks

    def slow(after: int, wait: float) -> tuple[list[GivenTask], int]:
        threading.Event().wait(0.02)  # as a poll would
        return polled(after, wait)

    monkeypatch.setattr(site.exchange, "tasks", slow)
    monkeypatch.setattr(site.exchange, "releases", lambda after, wait: slow(after, wait) and ([], 1))
    site.exchange.failure = UnreachableError("no answer")
    site.link = Link(site.cluster, site.exchange, namespace=SPACE, silo="west", hub=HUB)
    runner = threading.Thread(target=site.link.run)
    runner.start()
    try:
        site.exchange.give("fg-1")
        site.exchange.failure = None
        until(lambda: site.names() == ["fg-1"])
        site.say("fg-1", "Succeeded", 100)
        until(lambda: site.exchange.given["fg-1"].status == DONE)
        until(lambda: site.link.state.reason is LinkReason.CONNECTED)
    finally:
        site.link.stop()
        runner.join(30)
    assert not runner.is_alive()


class Picky(MemoryCluster):
    """An API server whose admission webhook refuses some names."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    def create(self, document: Mapping[str, Any]) -> Any:
        name = document["metadata"]["name"]
        if name in self.refused:
            raise Forbidden(f"create {document['kind']} {name}: the admission webhook denied it")
        return super().create(document)

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        if name in self.refused:
            raise Forbidden(f"delete {kind} {name}: the admission webhook denied it")
        super().delete(kind, namespace, name, uid)


@pytest.fixture
def picky(site: Site) -> Site:
    site.cluster = Picky()
    site.restart()
    return site


def refuse(site: Site, *names: str) -> None:
    assert isinstance(site.cluster, Picky)
    site.cluster.refused = set(names)


def step(site: Site) -> bool:
    return site.link.step(Way.TASKS, lambda: site.link.tasks(0))


def test_one_task_that_the_api_server_refuses_keeps_no_other_back_and_the_hub_reads_why(
    picky: Site, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(picky, "a-one")
    for name in ("a-one", "b-two"):
        picky.exchange.give(name)
    assert not step(picky), "it is tried again after a pause"
    assert not step(picky)
    assert picky.names() == ["b-two"]
    assert [(state.reason, state.message) for state in picky.states] == [(LinkReason.CONNECTED, "")]
    assert [record.message for record in caplog.records if "a-one" in record.message] == [
        "SiloTask a-one of the hub is not let in by the site's API server (rights, quota or admission webhook; mend it "
        "there): create SiloTask a-one: the admission webhook denied it"
    ]
    ((name, said),) = picky.exchange.puts
    assert (name, said["phase"], said["reason"]) == ("a-one", "Pending", "CreationRefused")
    assert "the admission webhook denied it" in said["message"]

    refuse(picky)
    assert step(picky)
    assert picky.names() == ["a-one", "b-two"]
    picky.say("a-one", "Running")
    picky.link.up()
    assert picky.exchange.puts[-1][1]["phase"] == "Running"


def test_one_task_that_cannot_be_deleted_keeps_no_other_here(picky: Site) -> None:
    for name in ("a-one", "b-two"):
        picky.exchange.give(name)
    assert step(picky)
    refuse(picky, "a-one")
    picky.exchange.given.clear()
    assert not step(picky)
    assert picky.names() == ["a-one"]
    refuse(picky)
    assert step(picky)
    assert picky.names() == []


def test_one_release_that_the_api_server_refuses_keeps_no_other_back(picky: Site) -> None:
    document = validate_file(crd_folder() / "examples" / "valid" / "release-train.yaml")[0]
    refuse(picky, "a-one")
    picky.exchange.shown = [GivenRelease(name, document["spec"]) for name in ("a-one", "b-two")]
    assert not picky.link.step(Way.RELEASES, lambda: picky.link.releases(0))
    assert [d["metadata"]["name"] for d in picky.cluster.list("Release", SPACE)[0]] == ["b-two"]
    refuse(picky)
    assert picky.link.step(Way.RELEASES, lambda: picky.link.releases(0))
    assert len(picky.cluster.list("Release", SPACE)[0]) == 2
