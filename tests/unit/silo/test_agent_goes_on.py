"""What goes wrong with one task or one file keeps an agent from nothing else."""

import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.client import SiloTaskDocument
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.view import BoardView
from fedgestalt.secagg.messages import Kind
from fedgestalt.silo.agent import Agent
from fedgestalt.silo.config import SiteConfig

from .test_missed_ends import UID, agent, key, last_word, site

__all__ = ["agent", "key", "site"]

LATER = "22222222-2222-4333-8444-555555555555"


class Source:
    """Takes every task's status but those of the tasks that were taken back."""

    def __init__(self, code: Code) -> None:
        self.code, self.asked, self.said = code, list[str](), list[str]()

    def report(self, name: str, status: Mapping[str, Any]) -> None:
        self.asked.append(name)
        if name == "gone":
            raise refused(self.code, name)
        self.said.append(name)


def task(uid: str, name: str) -> SiloTaskDocument:
    return SiloTaskDocument(name, {"roundUID": uid, "kind": "Enrol", "digest": "d" * 64, "attempt": 1}, {}, 1)


@pytest.mark.parametrize(("code", "asked"), [(Code.TASK_UNKNOWN, 1), (Code.FORBIDDEN, 3)])
def test_a_task_that_was_taken_back_silences_no_other(agent: Agent, code: Code, asked: int) -> None:
    source: Any = Source(code)
    agent._source = source
    agent._handle("task", task(UID, "gone"))
    agent._handle("task", task(LATER, "later"))
    for _ in range(3):
        agent._report()
    assert source.said == ["later"]
    assert source.asked.count("gone") == asked  # one that no longer exists is not asked about again


def test_a_disk_that_is_full_for_a_moment_leaves_a_board_followed(
    agent: Agent, site: SiteConfig, key: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgestalt.silo.agent.RETRY_SECONDS", 0.01)
    answers: list[Any] = [OSError(28, "No space left on device"), [SimpleNamespace(seq=1)]]
    heard = threading.Event()

    def refresh(view: BoardView, wait: float) -> list[Any]:
        if not answers:
            heard.wait(10)
            return []
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    monkeypatch.setattr(BoardView, "refresh", refresh)
    agent._open(UID)
    thread = threading.Thread(target=agent._follow_board, args=(UID,), daemon=True)
    thread.start()
    kind, (uid, entry) = agent._events.get(timeout=10)
    agent.stop()
    heard.set()
    thread.join(10)
    assert (kind, uid, entry.seq) == ("entry", UID, 1)
    assert not thread.is_alive()


def test_a_follower_ends_with_its_round(agent: Agent, key: Identity) -> None:
    agent._open(UID).asked = False
    entry: Any = SimpleNamespace(seq=1, message=last_word(Kind.FAILED, key).encode(), complete=True)
    agent._handle("entry", (UID, entry))
    agent._follow_board(UID)  # returns
