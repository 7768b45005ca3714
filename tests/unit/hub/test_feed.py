"""The feed outlives whatever an exchange, or a proxy before it, answers."""

from __future__ import annotations

import pytest

from fedgestalt_operator.hub import feed as module
from fedgestalt_operator.hub.feed import Feed
from fedgestalt_operator.hub.ports import Changes, ExchangeUnavailable


class Exchange:
    """Plays answers, then stops the feed."""

    def __init__(self, answers: list[Changes | Exception]) -> None:
        self.answers, self.asked = answers, list[int]()
        self.feed: Feed | None = None

    def changes(self, after: int, wait: float) -> Changes:
        self.asked.append(after)
        if len(self.asked) == len(self.answers):
            assert self.feed is not None
            self.feed.stop()
        answer = self.answers[len(self.asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def played(
    answers: list[Changes | Exception], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[int], list[bool]]:
    monkeypatch.setattr(module, "RETRY", 0.0)
    told, reached = list[str](), list[bool]()
    exchange = Exchange(answers)
    exchange.feed = Feed(
        exchange,  # type: ignore[arg-type]
        told.append,
        lambda: told.append("everything"),
        reached.append,
    )
    exchange.feed.run()
    return told, exchange.asked, reached


def test_news_become_rounds_and_the_next_question_begins_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    told, asked, _ = played(
        [Changes(frozenset({"b", "a"}), 7), Changes(frozenset(), 7), Changes(frozenset({"c"}), 9)],
        monkeypatch,
    )
    assert told == ["a", "b", "c"]
    assert asked == [0, 7, 7]


def test_after_any_error_everything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Changes | Exception] = [
        ExchangeUnavailable("away"),
        ValueError("no JSON"),
        RuntimeError("?"),
    ]
    told, _, reached = played([*errors, Changes(frozenset(), 3), Changes(frozenset({"a"}), 4)], monkeypatch)
    assert told == ["everything", "a"]
    assert reached == [False, False, False, True, True]
