"""A round that was deleted while its agent was away has no task any more; its board still says that it is over."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedgestalt.crypto.keys import Identity, SigningKey
from fedgestalt.exchange.client import SiloTaskDocument
from fedgestalt.secagg.messages import HUB, Kind, Message, Slot, sign
from fedgestalt.silo.agent import Agent
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.round import RoundWork
from fedgestalt.silo.store import DiskStore

from .sites import west

UID = "11111111-2222-4333-8444-555555555555"
ENDS = {
    Kind.FAILED: {"reason": "Deleted", "message": "the round was deleted"},
    Kind.RELEASED: {"digest": bytes(32), "signers": ["east", "north", "west"]},
}


@pytest.fixture
def key() -> Identity:
    return Identity.generate()


@pytest.fixture
def site(tmp_path: Path, key: Identity) -> SiteConfig:
    Identity.generate().save(tmp_path / "identity.pem")
    return west(tmp_path, key.public)


@pytest.fixture
def agent(site: SiteConfig, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """An agent that was away in the middle of a round; it follows nothing, for the test tells it what it hears."""
    site.state.mkdir(exist_ok=True)
    store = DiskStore(site.state / f"{UID}.sqlite")
    store.put(f"secagg/{UID}/1/root", b"secret")
    store.close()
    monkeypatch.setattr(Agent, "_follow", lambda self, uid: None)
    monkeypatch.setattr(Agent, "_connect", lambda self, purpose: SimpleNamespace())
    return Agent(site)


def hears(agent: Agent, message: Message) -> RoundWork:
    entry: Any = SimpleNamespace(seq=1, message=message.encode(), complete=True)
    agent._handle("entry", (UID, entry))
    return agent._rounds[UID]


def secret(site: SiteConfig) -> bytes | None:
    return DiskStore(site.state / f"{UID}.sqlite").get(f"secagg/{UID}/1/root")


def last_word(kind: Kind, key: Identity | SigningKey) -> Message:
    return sign(Slot(UID, 1, "", 0, 0, kind, HUB), ENDS[kind], (), key)


@pytest.mark.parametrize("kind", ENDS)
def test_its_secrets_go_with_the_hubs_last_word(
    agent: Agent, site: SiteConfig, key: Identity, kind: Kind
) -> None:
    agent._handle("listed", None)
    assert secret(site) == b"secret"
    assert hears(agent, last_word(kind, key)).finished
    assert secret(site) is None
    agent._report()  # nobody asked for this round, and nobody is told


def test_a_last_word_of_anybody_else_is_not_believed(agent: Agent, site: SiteConfig) -> None:
    agent._handle("listed", None)
    assert not hears(agent, last_word(Kind.FAILED, Identity.generate())).finished
    assert secret(site) == b"secret"


def test_a_round_that_a_task_names_is_taken_up_instead(agent: Agent, site: SiteConfig, key: Identity) -> None:
    agent._handle("listed", None)
    spec = {"roundUID": UID, "kind": "Enrol", "digest": "d" * 64, "attempt": 1}
    agent._handle("task", SiloTaskDocument("fg-11111111-enrol-west-1", spec, {}, 1))
    # Its board is replayed: a release, for one, must be kept first.
    assert not hears(agent, last_word(Kind.RELEASED, key)).finished
    assert secret(site) == b"secret"


@pytest.mark.parametrize(
    ("handover", "answers", "expected"), [(False, 2, True), (True, 2, False), (True, 3, True)]
)
def test_an_empty_folder_is_no_list_of_tasks(
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    handover: bool,
    answers: int,
    expected: bool,
) -> None:
    task = SiloTaskDocument("fg-11111111-enrol-west-1", {}, {}, 1)
    looks: list[list[SiloTaskDocument]] = [[], [task] if handover else [], []][:answers]

    class Source:
        def wait(self, seconds: float) -> list[SiloTaskDocument]:
            if len(looks) == 1:
                agent.stop()
            return looks.pop(0)

    agent._source = Source()  # type: ignore[assignment]
    object.__setattr__(agent._site, "handover", tmp_path if handover else None)
    agent._follow_tasks()
    kinds = []
    while not agent._events.empty():
        kinds.append(agent._events.get()[0])
    assert ("listed" in kinds) is expected
