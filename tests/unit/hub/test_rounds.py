"""Which rounds there are, and what is left to clear of those that are gone."""

from __future__ import annotations

from typing import Any

from fedgestalt_operator.hub.reconcile import blocked
from fedgestalt_operator.hub.rounds import RoundIndex

KEY = ("FederationRound", "ns", "gm")


def document(uid: str, phase: str = "Pending") -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": "gm", "uid": uid}
    return {"kind": "FederationRound", "metadata": metadata, "status": {"phase": phase}}


DOCUMENT = document("a")


def test_a_round_that_is_gone_is_cleared_once_under_its_key() -> None:
    index = RoundIndex()
    assert index.learn(document("a")) == KEY
    assert index.forget("a") == KEY
    assert index.forget("a") is None
    assert index.take_gone(KEY) == {"a"}
    assert index.take_gone(KEY) == set()


def test_what_could_not_be_cleared_comes_again_beside_a_new_round_of_the_same_name() -> None:
    index = RoundIndex()
    index.learn(document("a"))
    index.forget("a")
    index.learn(document("b", "Training"))
    index.give_back(KEY, *index.take_gone(KEY))
    assert index.take_gone(KEY) == {"a"}
    assert index.uids() == {"b"}
    assert index.all("Training") == [KEY]


def test_an_action_that_fails_shows_first_in_the_status_and_trying_again_is_no_write() -> None:
    status = {
        "phase": "Training",
        "waitingFor": [{"who": "west", "what": "upload", "since": "x", "until": "z", "then": "y"}],
    }
    first = blocked(DOCUMENT, status, ValueError("quota exceeded"), 1_790_000_000.0)
    assert first["waitingFor"][0]["what"] == "ValueError: quota exceeded"
    assert first["summary"]["waiting"] == "hub: ValueError: quota exceeded"
    assert [(w["who"], w["until"]) for w in first["waitingFor"]] == [("hub", "z")]
    again = blocked({**DOCUMENT, "status": first}, status, ValueError("quota exceeded"), 1_790_000_500.0)
    assert again == first


def test_a_round_that_only_the_exchange_has_is_cleared_under_its_uid_once() -> None:
    index = RoundIndex()
    index.learn(document("alive"))
    index.learn(document("going"))
    index.forget("going")
    assert index.orphan("ns", "alive") is None
    assert index.orphan("ns", "going") is None, "it is about to be cleared under its own key"
    key = index.orphan("ns", "lost")
    assert key == ("FederationRound", "ns", "lost")
    assert index.orphan("ns", "lost") is None
    assert index.take_gone(key) == {"lost"}


def test_a_long_error_stands_whole_in_the_wait_and_begins_in_the_column() -> None:
    why = "the API server refused the Job: exceeded quota: compute, requested: cpu=8, used: cpu=60, limited: cpu=64"
    status = blocked(DOCUMENT, {"phase": "Training"}, ValueError(why), 1_790_000_000.0)
    assert status["waitingFor"][0]["what"] == f"ValueError: {why}"
    assert status["summary"]["waiting"] == "hub: ValueError: the API server refused the Job: exc…"
