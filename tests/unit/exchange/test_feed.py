"""The hub's operator at the exchange: one poll for all rounds, a round's tasks in one request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from fedgestalt.exchange.client import NewTask
from fedgestalt.exchange.errors import Code, RefusedError, TaskTakenError
from fedgestalt.exchange.link import Changes

from .conftest import NAMES, ROUND, Federation, digest_of


def spec(**more: object) -> dict[str, object]:
    return {"roundUID": ROUND, "kind": "Enrol", **more}


def batch(**more: object) -> list[NewTask]:
    return [NewTask(silo, f"fg-{silo}", spec(**more)) for silo in NAMES]


def code_of(call: Callable[[], object]) -> Code:
    with pytest.raises(RefusedError) as refusal:
        call()
    return refusal.value.code


def polled(federation: Federation, after: int, act: Callable[[], object]) -> tuple[Changes, float]:
    """What a poll under way answers to ``act``, and the seconds that it took to."""
    found: list[tuple[Changes, float]] = []
    hub = federation.client("hub")
    hub.changes(0)  # connect beforehand
    thread = threading.Thread(target=lambda: found.append((hub.changes(after, 20), time.monotonic())))
    thread.start()
    time.sleep(0.3)
    assert not found
    act()
    acted = time.monotonic()
    thread.join(10)
    ((changes, at),) = found
    return changes, at - acted


def test_one_poll_wakes_for_messages_completions_and_status_of_any_round(enrolled: Federation) -> None:
    hub, west = enrolled.client("hub"), enrolled.client("west")
    first = hub.changes(0)
    assert first.everything
    data = b"a masked vector of the west"
    hub.put_tasks(ROUND, batch())
    for act in (
        lambda: west.post(enrolled.masked("west", data)),
        lambda: west.upload(ROUND, digest_of(data), data),
        lambda: west.put_task_status("fg-west", {"phase": "Running"}),
    ):
        found, took = polled(enrolled, first.revision, act)
        assert found.rounds == {ROUND}
        assert not found.everything
        assert took < 5  # far below the 20 s that it would have waited
        first = found
    assert hub.changes(first.revision, 0.2) == Changes(frozenset(), first.revision, everything=False)


def test_only_the_hub_reads_changes_and_tasks_of_rounds(enrolled: Federation) -> None:
    west = enrolled.client("west")
    assert code_of(lambda: west.changes(0)) is Code.FORBIDDEN
    assert code_of(lambda: west.round_tasks(ROUND)) is Code.FORBIDDEN
    assert code_of(west.rounds) is Code.FORBIDDEN
    assert code_of(lambda: west.put_tasks(ROUND, batch())) is Code.FORBIDDEN
    assert code_of(lambda: west.delete_round_tasks(ROUND)) is Code.FORBIDDEN


def test_a_batch_gives_all_silos_their_tasks_at_once_and_status_is_read_at_once(
    federation: Federation,
) -> None:
    hub, west = federation.client("hub"), federation.client("west")
    west.tasks()
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.extend(task.name for task in west.tasks(20)[0]))
    thread.start()
    time.sleep(0.3)
    hub.put_tasks(ROUND, batch())
    thread.join(10)
    assert seen == ["fg-west"]
    west.put_task_status("fg-west", {"phase": "Succeeded"})
    hub.put_tasks(ROUND, batch())
    tasks = hub.round_tasks(ROUND)
    assert [(task.silo, task.name) for task in tasks] == [(silo, f"fg-{silo}") for silo in NAMES]
    assert [task.status for task in tasks] == [{}, {}, {"phase": "Succeeded"}]
    assert tasks[0].spec == spec()
    assert hub.round_tasks("another") == []
    assert hub.rounds() == {ROUND}
    hub.delete_round_tasks(ROUND)
    assert hub.round_tasks(ROUND) == []
    assert hub.rounds() == frozenset()
    assert west.tasks()[0] == []


def test_another_spec_for_a_given_task_is_refused_with_the_tasks_name(federation: Federation) -> None:
    hub = federation.client("hub")
    hub.put_tasks(ROUND, batch()[:1])
    with pytest.raises(TaskTakenError, match="fg-east"):
        hub.put_tasks(ROUND, batch(attempt=2))
    assert [task.name for task in hub.round_tasks(ROUND)] == ["fg-east"]


def test_a_task_that_was_given_alone_belongs_to_the_round_of_its_spec(federation: Federation) -> None:
    hub = federation.client("hub")
    hub.put_task("west", "fg-west", spec())
    hub.put_task("west", "of-no-round", {})
    assert [task.name for task in hub.round_tasks(ROUND)] == ["fg-west"]
    assert code_of(lambda: hub.put_task("west", "bad", {"roundUID": 7})) is Code.INVALID


def test_a_malformed_batch_is_refused(federation: Federation) -> None:
    hub = federation.client("hub")
    put = hub._transport.request
    for body, code in (
        ({}, Code.INVALID),
        ({"tasks": [1]}, Code.INVALID),
        ({"tasks": [{"silo": "west", "name": "t"}]}, Code.INVALID),
        ({"tasks": [{"silo": "west", "name": "t", "spec": {}}]}, Code.INVALID),
        ({"tasks": [{"silo": "west", "name": "t", "spec": {"roundUID": "other"}}]}, Code.INVALID),
        ({"tasks": [{"silo": "We st", "name": "t", "spec": spec()}]}, Code.INVALID),
        ({"tasks": [{"silo": "west", "name": "t/../x", "spec": spec()}]}, Code.INVALID),
        ({"tasks": [{"silo": "west", "name": f"t{k}", "spec": spec()} for k in range(257)]}, Code.TOO_LARGE),
        ({"tasks": [{"silo": "west", "name": "t", "spec": spec(x="x" * 70_000)}]}, Code.TOO_LARGE),
    ):
        assert code_of(lambda body=body: put("PUT", f"/rounds/{ROUND}/tasks", json=body)) is code  # type: ignore[misc]
    assert hub.round_tasks(ROUND) == []


def test_what_the_exchange_remembers_of_a_round_goes_with_its_tasks_and_is_read_again_if_asked(
    enrolled: Federation,
) -> None:
    hub, west = enrolled.client("hub"), enrolled.client("west")
    hub.put_tasks(ROUND, batch())
    west.post(enrolled.endorse("west"))
    assert enrolled.state.rosters
    assert enrolled.state.delegated
    hub.delete_round_tasks(ROUND)
    assert not enrolled.state.rosters
    assert not enrolled.state.delegated
    assert west.post(enrolled.endorse("west")).seq == 5, "its messages are believed as before"
