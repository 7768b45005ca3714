"""A revoked grant ends a round at its site: after the aggregation that others have built on, and for good."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedgestalt.crypto.errors import SignatureError
from fedgestalt.crypto.keys import Identity
from fedgestalt.secagg.messages import HUB, FaultReason, Kind, Message, Slot
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.leaving import sending
from fedgestalt.silo.round import RoundWork
from fedgestalt.silo.vault import EpochVault
from fedgestalt_operator.api.reasons import GrantReason
from fedgestalt_operator.plan.grants import Mismatch

from .sites import west

UID = "11111111-2222-4333-8444-555555555555"
REVOKED = Mismatch(GrantReason.REVOKED, "the data steward revoked the grant")
SENDERS = ("senders", {"silos": ["east", "north", "west"]})


def message(kind: str, body: Mapping[str, Any] | None = None, *, t: int = 1, attempt: int = 1) -> Message:
    return Message(Slot(UID, 1, "m0", t, attempt, Kind(kind), HUB), dict(body or {}))


def test_an_aggregation_counts_on_a_silo_from_the_senders_to_its_end() -> None:
    history = [message("keyset", {"silos": ["north", "west"]})]
    assert sending(history, "west") == frozenset()
    history.append(message(*SENDERS))
    assert sending(history, "west") == {("m0", 1)}
    assert sending(history, "south") == frozenset()
    assert sending([*history, message("retry")], "west") == frozenset()
    history += [message("aggregate"), message("advance"), message(*SENDERS, t=2)]
    assert sending(history, "west") == {("m0", 2)}
    assert sending([*history, message("skip", t=2)], "west") == frozenset()


class Part:
    """What a RoundWork needs of its part: what was said is kept, messages marked as forged are not believed."""

    def __init__(self) -> None:
        self.said: list[tuple[FaultReason, str]] = []
        self.heard: list[Message] = []
        self.leaving = self.ended = ""
        self.broken: Exception | None = None
        self.session = SimpleNamespace(enrolled=True, close=lambda: None, verify=self._verify)

    @staticmethod
    def _verify(message: Message) -> None:
        if message.body.get("forged"):
            raise SignatureError("forged")

    def on_message(self, message: Message) -> None:
        self.heard.append(message)

    def fault(self, reason: FaultReason, detail: str, member: str = "", t: int = 0) -> None:
        self.said.append((reason, detail))

    def leave(self, why: str) -> None:
        self.leaving = why

    def end(self, why: str) -> None:
        self.ended = why


class Steward:
    """A Permission whose answer the test gives."""

    def __init__(self) -> None:
        self.revoked = False
        self.closed: list[str] = []

    def ended(self, uid: str) -> Mismatch | None:
        return REVOKED if self.revoked else None

    def over(self, uid: str) -> None:
        self.closed.append(uid)


class Trainer:
    """Workloads that only can be stopped."""

    def __init__(self) -> None:
        self.stopped = False

    def status(self, kind: str) -> dict[str, Any]:
        return {"phase": "Running", "fraction": 0.5, "message": "m0 t=1"}

    def poll(self) -> None:
        assert not self.stopped

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteConfig:
    monkeypatch.setattr("fedgestalt.silo.leaving.LOOK_SECONDS", 0.0)
    return west(tmp_path)


class Running:
    """A RoundWork in training, with its surroundings."""

    def __init__(self, site: SiteConfig) -> None:
        self.part, self.steward, self.trainer = Part(), Steward(), Trainer()
        self.work = make(site, self.steward)
        self.work._part = self.part  # type: ignore[assignment]
        self.work._results = SimpleNamespace()  # type: ignore[assignment]
        self.work._workloads = self.trainer  # type: ignore[assignment]
        self.work._attempt = 1
        self.seq = 0

    def hear(self, *messages: Message) -> None:
        for one in messages:
            self.seq += 1
            self.work.on_message(self.seq, one, complete=True)
            self.work.poll()


def make(site: SiteConfig, steward: Steward) -> RoundWork:
    vault = EpochVault(site.state / "epochs.sqlite")
    identity = Identity.from_seed(bytes(32))
    return RoundWork(site, identity, UID, SimpleNamespace(), vault, steward)  # type: ignore[arg-type]


@pytest.fixture
def running(site: SiteConfig) -> Running:
    return Running(site)


def test_a_run_goes_on_while_its_grant_stands(running: Running) -> None:
    running.hear(message(*SENDERS), message("advance"))
    assert (running.part.said, running.part.leaving, running.work.finished) == ([], "", False)


def test_the_open_aggregation_is_finished_and_no_other_one_begun(running: Running) -> None:
    running.hear(message(*SENDERS))
    running.steward.revoked = True
    running.hear(message("survivors", {"silos": ["west"]}), message("aggregate"))
    assert running.part.leaving.startswith("GrantRevoked")
    assert (running.part.said, running.trainer.stopped) == ([], False)
    running.hear(message("advance"))
    assert running.part.said == [(FaultReason.GRANT_MISMATCH, str(REVOKED))]
    assert running.trainer.stopped
    assert running.part.ended


def test_a_forged_end_of_the_aggregation_does_not_count(running: Running) -> None:
    running.hear(message(*SENDERS))
    running.steward.revoked = True
    running.hear(message("advance", {"forged": True}))
    assert running.part.said == []


def test_it_stops_at_once_where_nobody_counts_on_it(running: Running) -> None:
    running.steward.revoked = True
    running.hear(message("keyset", {"silos": ["west"]}))
    assert running.part.said == [(FaultReason.GRANT_MISMATCH, str(REVOKED))]


def test_after_it_left_nothing_is_heard_said_or_started(running: Running) -> None:
    running.steward.revoked = True
    running.hear(message("keyset", {"silos": ["west"]}))
    heard = len(running.part.heard)
    running.hear(message(*SENDERS), message("released"))
    running.work.on_task("Enrol", "d" * 64, 2)
    assert len(running.part.heard) == heard
    assert len(running.part.said) == 1
    assert running.steward.closed == [UID]


def test_its_tasks_say_why_and_what_was_done_stays_done(running: Running, site: SiteConfig) -> None:
    running.steward.revoked = True
    running.hear(message("keyset", {"silos": ["west"]}))

    def said(work: RoundWork) -> list[tuple[str, str]]:
        statuses = (work.task_status(kind) for kind in ("Enrol", "Train", "Encode"))
        return [(status["phase"], status.get("reason", "")) for status in statuses]

    expected = [("Succeeded", "")] + [("Failed", "GrantMismatch")] * 2
    assert said(running.work) == expected
    assert "GrantRevoked" in running.work.task_status("Train")["message"]
    assert running.work.task_status("Train")["causes"] == ["GrantRevoked"]
    running.work.stop()
    again = make(site, Steward())
    assert said(again) == expected
    assert again.task_status("Train")["causes"] == ["GrantRevoked"]
    assert (again.finished, again.dormant) == (True, False)


def test_its_secrets_are_gone_once_it_left(running: Running) -> None:
    running.work._place.store.put(f"secagg/{UID}/1/root", b"secret")
    running.steward.revoked = True
    running.hear(message("keyset", {"silos": ["west"]}))
    assert running.work._place.store.get(f"secagg/{UID}/1/root") is None


def test_a_board_that_is_still_being_read_is_read_first(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgestalt.silo.leaving.LOOK_SECONDS", 60.0)
    running.steward.revoked = True
    running.hear(message("keyset", {"silos": ["west"]}), message(*SENDERS))
    assert (running.part.said, running.part.leaving) == ([], "")
    monkeypatch.setattr("fedgestalt.silo.leaving.LOOK_SECONDS", 0.0)
    running.work.poll()
    assert (running.part.said, running.part.leaving) == ([], str(REVOKED))
