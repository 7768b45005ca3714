"""The end of a round whose resource is gone, whatever is cut short in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fedgestalt_operator.hub.deleted import end_deleted
from fedgestalt_operator.hub.ports import DecisionTaken, ExchangeUnavailable
from fedgestalt_operator.plan.types import Decision, Entry

UID = "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f"
ROWS = b"r".hex() * 32


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
        self.kept: set[str] = set()
        self.readable = True

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

    def due(self, round_uid: str, digest: str) -> bool:
        return self.readable and digest not in self.kept

    def publish(self, round_uid: str, digest: str) -> None:
        self._call("publish")
        assert self.blobs == {ROWS}, "an empty gallery, or updates that nobody deletes any more"
        self.blobs.clear()
        self.kept.add(digest)

    def published(self, digest: str) -> bool:
        return digest in self.kept

    def release(self) -> None:
        """All that a process of the hub does until it is killed right after its last decision."""
        self.board.append(Entry(3, 3.0, 1, "", 0, 0, "rows", "west", {"digest": b"r" * 32}))
        self.blobs.add(ROWS)
        body = {"digest": b"d" * 32, "signers": ["west"]}
        self.board.append(Entry(4, 4.0, 1, "", 0, 0, "released", "hub", body))

    def drop(self, round_uid: str, digests: Sequence[str]) -> None:
        self._call("drop")
        self.blobs -= set(digests)

    def forget(self, round_uid: str) -> None:
        self._call("forget")
        self.tasks.clear()


def test_the_silos_are_told_before_their_tasks_are_taken_back() -> None:
    exchange = Exchange()
    end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert exchange.order == ["post", "drop", "forget"]
    assert (exchange.tasks, exchange.blobs) == (set(), set())


@pytest.mark.parametrize("away", [1, 2, 3])
def test_it_is_found_again_by_its_tasks_until_all_is_done(away: int) -> None:
    exchange = Exchange(away)
    with pytest.raises(ExchangeUnavailable):
        end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert exchange.tasks, "nothing would bring it back"
    end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert [e.kind for e in exchange.board].count("failed") == 1
    assert (exchange.tasks, exchange.blobs) == (set(), set())


class Behind(Exchange):
    """Another process ends the round right after the board was read."""

    def __init__(self, end: Callable[[Exchange], None], *, blind: bool = False) -> None:
        super().__init__()
        self.end, self.blind = end, blind
        self.seen = tuple(self.board)

    def entries(self, round_uid: str) -> tuple[Entry, ...]:
        return self.seen if self.blind else super().entries(round_uid)

    def post(self, round_uid: str, decision: Decision, blobs: Sequence[bytes | Path] = ()) -> None:
        self.end(self)
        raise DecisionTaken("over")


def failed(exchange: Exchange) -> None:
    exchange.board.append(
        Entry(3, 3.0, 1, "", 0, 0, "failed", "hub", {"reason": "QuorumLost", "message": ""})
    )


def test_a_round_that_had_just_failed_by_itself_keeps_its_reason() -> None:
    exchange = Behind(failed)
    end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert exchange.board[-1].body["reason"] == "QuorumLost"
    assert (exchange.tasks, exchange.blobs) == (set(), set())


def test_a_round_that_another_process_had_just_released_is_published_before_its_rows_go() -> None:
    exchange = Behind(Exchange.release)
    end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert exchange.order == ["drop", "publish", "forget"]
    assert exchange.kept == {b"d".hex() * 32}
    assert (exchange.tasks, exchange.blobs) == (set(), set())


def test_an_end_that_cannot_be_read_yet_is_no_reason_to_drop_anything() -> None:
    exchange = Behind(Exchange.release, blind=True)
    with pytest.raises(ExchangeUnavailable):
        end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert exchange.order == []


@pytest.mark.parametrize("away", [1, 2, 3])
def test_a_release_that_was_decided_and_not_published_is_published_once_its_round_is_deleted(
    away: int,
) -> None:
    exchange = Exchange(away)
    exchange.release()
    with pytest.raises(ExchangeUnavailable):
        end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert exchange.tasks, "nothing would bring it back"
    end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert exchange.kept == {b"d".hex() * 32}
    assert (exchange.tasks, exchange.blobs) == (set(), set())


def test_rows_of_a_release_that_can_never_be_published_go() -> None:
    exchange = Exchange()
    exchange.release()
    exchange.readable = False
    end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert (exchange.order, exchange.blobs) == (["drop", "forget"], set())


def test_a_round_whose_release_is_published_is_forgotten_and_nothing_else() -> None:
    exchange = Exchange()
    exchange.release()
    exchange.kept.add(b"d".hex() * 32)
    end_deleted(exchange, exchange, UID)  # type: ignore[arg-type]
    assert exchange.order == ["forget"]
