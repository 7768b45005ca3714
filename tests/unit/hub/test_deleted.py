"""The end of a round whose resource is gone, whatever is cut short in between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fedgestalt_operator.hub.deleted import end_deleted
from fedgestalt_operator.hub.ports import DecisionTaken, ExchangeUnavailable
from fedgestalt_operator.plan.types import Decision, Entry

UID = "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f"


class Exchange:
    """A board with a computation and a masked update; away at the call `away`, counted over all that change anything."""

    def __init__(self, away: int = -1) -> None:
        self.board = [
            Entry(1, 1.0, 0, "", 0, 0, "computation", "hub", {"digest": b"c" * 32}),
            Entry(2, 2.0, 1, "m", 1, 1, "masked", "west", {"digest": b"m" * 32, "length": 4}),
        ]
        self.tasks, self.blobs = {"fg-task"}, {b"m".hex() * 32}
        self.away, self.calls = away, 0
        self.order: list[str] = []

    def _call(self, what: str) -> None:
        self.calls += 1
        if self.calls == self.away:
            raise ExchangeUnavailable(what)
        self.order.append(what)

    def entries(self, round_uid: str) -> tuple[Entry, ...]:
        return tuple(self.board)

    def post(self, round_uid: str, decision: Decision, blobs: Sequence[bytes | Path] = ()) -> None:
        self._call("post")
        if any(e.kind == "failed" for e in self.board):
            raise DecisionTaken("failed")
        self.board.append(Entry(3, 3.0, decision.enrolment, "", 0, 0, "failed", "hub", decision.body))

    def drop(self, round_uid: str, digests: Sequence[str]) -> None:
        self._call("drop")
        self.blobs -= set(digests)

    def forget(self, round_uid: str) -> None:
        self._call("forget")
        self.tasks.clear()


def test_the_silos_are_told_before_their_tasks_are_taken_back() -> None:
    exchange = Exchange()
    end_deleted(exchange, UID)  # type: ignore[arg-type]
    assert exchange.order == ["post", "drop", "forget"]
    assert (exchange.tasks, exchange.blobs) == (set(), set())


@pytest.mark.parametrize("away", [1, 2, 3])
def test_it_is_found_again_by_its_tasks_until_all_is_done(away: int) -> None:
    exchange = Exchange(away)
    with pytest.raises(ExchangeUnavailable):
        end_deleted(exchange, UID)  # type: ignore[arg-type]
    assert exchange.tasks, "nothing would bring it back"
    end_deleted(exchange, UID)  # type: ignore[arg-type]
    assert [e.kind for e in exchange.board].count("failed") == 1
    assert (exchange.tasks, exchange.blobs) == (set(), set())


def test_a_round_that_had_just_failed_by_itself_keeps_its_reason() -> None:
    exchange = Exchange()
    own = Entry(3, 3.0, 1, "", 0, 0, "failed", "hub", {"reason": "QuorumLost", "message": ""})
    seen = exchange.entries(UID)
    exchange.board.append(own)
    exchange.entries = lambda round_uid: seen  # type: ignore[method-assign]
    end_deleted(exchange, UID)  # type: ignore[arg-type]
    assert exchange.board[-1] is own
    assert not exchange.tasks
