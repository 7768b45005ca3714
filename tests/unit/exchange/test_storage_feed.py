"""The change feed and the batches of tasks, of every storage; what a set-back copy and an older format do."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedgestalt.exchange.errors import RoundOverError, TaskTakenError
from fedgestalt.exchange.storage import BoardStorage, EmbeddedStorage, Limits, NewMessage, NewTask
from fedgestalt.exchange.storage.feed import MOST

from .conftest import digest_of
from .memory_storage import MemoryStorage

NO_RESERVE = Limits(reserve_bytes=0)


@pytest.fixture(params=["embedded", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BoardStorage]:
    made: BoardStorage = (
        EmbeddedStorage(tmp_path / "board", NO_RESERVE) if request.param == "embedded" else MemoryStorage()
    )
    yield made
    made.close()


def post(storage: BoardStorage, uid: str, slot: str = "s", *, blobs: tuple[str, ...] = ()) -> None:
    storage.append(NewMessage(uid, slot, "silo.west", slot.encode(), blobs), now=1)


def changed(storage: BoardStorage, after: int) -> set[str]:
    found = storage.changes(after)
    assert not found.everything
    return set(found.rounds)


def test_the_feed_names_the_rounds_that_changed_since_and_no_others(storage: BoardStorage) -> None:
    start = storage.changes(0).revision
    assert changed(storage, start) == set()
    post(storage, "r1")
    post(storage, "r2")
    middle = storage.changes(start).revision
    assert changed(storage, start) == {"r1", "r2"}
    post(storage, "r1", "another")
    assert changed(storage, middle) == {"r1"}
    assert changed(storage, storage.changes(middle).revision) == set()
    assert changed(storage, start) == {"r1", "r2"}


def test_the_same_bytes_again_are_no_change(storage: BoardStorage) -> None:
    post(storage, "r1")
    revision = storage.changes(0).revision
    post(storage, "r1")
    assert storage.changes(revision).revision == revision


def test_a_completion_is_a_change_and_a_blob_that_nobody_waits_for_is_none(storage: BoardStorage) -> None:
    data, idle = b"data", b"idle"
    post(storage, "r1", blobs=(digest_of(data),))
    revision = storage.changes(0).revision
    storage.write_chunk("r1", digest_of(idle), "a", 0, idle)
    storage.complete_blob("r1", digest_of(idle), "a")
    assert changed(storage, revision) == set()
    storage.write_chunk("r1", digest_of(data), "a", 0, data)
    assert changed(storage, revision) == set()
    storage.complete_blob("r1", digest_of(data), "a")
    assert changed(storage, revision) == {"r1"}


def test_a_tasks_status_is_a_change_of_its_round_when_it_differs(storage: BoardStorage) -> None:
    storage.put_tasks("r1", [NewTask("west", "t1", b"{}")])
    storage.put_task("west", "other", b"{}")
    revision = storage.changes(0).revision
    assert storage.put_task_status("west", "t1", b'{"phase":"Running"}')
    assert storage.put_task_status("west", "other", b'{"phase":"Running"}')
    after = storage.changes(revision)
    assert set(after.rounds) == {"r1"}
    assert not storage.put_task_status("west", "t1", b'{"phase":"Running"}')
    assert storage.changes(after.revision).revision == after.revision


@pytest.mark.parametrize("strange", [0, 1, 12345, (1 << 63) - 1])
def test_a_revision_that_was_never_given_out_means_everything(storage: BoardStorage, strange: int) -> None:
    post(storage, "r1")
    found = storage.changes(strange)
    assert found.everything
    assert changed(storage, found.revision) == set()
    assert storage.changes(found.revision + 1).everything


def test_too_many_changes_to_list_mean_everything() -> None:
    storage = MemoryStorage()
    start = storage.changes(0).revision
    for k in range(MOST):
        post(storage, f"r{k}")
    assert len(changed(storage, start)) == MOST
    post(storage, "one more")
    assert storage.changes(start).everything


def test_revisions_hold_over_a_restart(tmp_path: Path) -> None:
    storage = EmbeddedStorage(tmp_path, NO_RESERVE)
    start = storage.changes(0).revision
    post(storage, "r1")
    end = storage.changes(start).revision
    storage.close()
    storage = EmbeddedStorage(tmp_path, NO_RESERVE)
    assert changed(storage, start) == {"r1"}
    assert changed(storage, end) == set()
    post(storage, "r2")
    assert changed(storage, end) == {"r2"}
    assert changed(storage, start) == {"r1", "r2"}
    storage.close()


def test_a_board_that_was_set_back_does_not_know_the_revisions_that_it_lost(tmp_path: Path) -> None:
    board, copy = tmp_path / "board", tmp_path / "copy"
    storage = EmbeddedStorage(board, NO_RESERVE)
    post(storage, "r1")
    kept = storage.changes(0).revision
    storage.close()
    shutil.copytree(board, copy)
    storage = EmbeddedStorage(board, NO_RESERVE)
    post(storage, "r2")
    lost = storage.changes(0).revision
    storage.close()
    storage = EmbeddedStorage(copy, NO_RESERVE)
    # Even once the copy has gone as far as the original had.
    for uid in ("r3", "r4", "r5"):
        post(storage, uid)
    assert storage.changes(lost).everything
    assert changed(storage, kept) == {"r3", "r4", "r5"}
    storage.close()


def test_a_copy_of_a_board_in_use_does_not_know_what_came_after_it(tmp_path: Path) -> None:
    board, copy = tmp_path / "board", tmp_path / "copy"
    storage = EmbeddedStorage(board, NO_RESERVE)
    post(storage, "r1")
    shutil.copytree(board, copy)
    post(storage, "r2")
    lost = storage.changes(0).revision
    storage.close()
    storage = EmbeddedStorage(copy, NO_RESERVE)
    post(storage, "r3")
    post(storage, "r4")
    assert storage.changes(lost).everything
    storage.close()


def test_a_batch_of_tasks_is_given_as_a_whole_and_again_without_effect(storage: BoardStorage) -> None:
    batch = [NewTask("west", "t-w", b'{"a":1}'), NewTask("east", "t-e", b'{"a":1}')]
    assert storage.put_tasks("r1", batch) == ["east", "west"]
    assert storage.put_tasks("r1", [*batch, NewTask("west", "t-w2", b"{}")]) == ["west"]
    before = storage.tasks("west")[1]
    assert storage.put_tasks("r1", batch) == []
    assert storage.tasks("west")[1] == before, "nothing is new, and nobody is woken"
    storage.put_tasks("r2", [NewTask("west", "other", b"{}")])
    storage.put_task_status("west", "t-w", b'{"phase":"Running"}')
    tasks = storage.round_tasks("r1")
    assert [(task.silo, task.name) for task in tasks] == [("east", "t-e"), ("west", "t-w"), ("west", "t-w2")]
    assert [task.status for task in tasks] == [b"{}", b'{"phase":"Running"}', b"{}"]
    assert [task.name for task in storage.tasks("west")[0]] == ["other", "t-w", "t-w2"]
    assert storage.tasks("west")[1] > before
    assert storage.round_tasks("r3") == []


def test_a_batch_with_another_spec_for_a_known_task_is_refused_whole(storage: BoardStorage) -> None:
    storage.put_tasks("r1", [NewTask("west", "t", b'{"a":1}')])
    with pytest.raises(TaskTakenError, match="t"):
        storage.put_tasks("r1", [NewTask("east", "new", b"{}"), NewTask("west", "t", b'{"a":2}')])
    assert storage.tasks("east") == ((), 0)
    assert [task.spec for task in storage.round_tasks("r1")] == [b'{"a":1}']


def test_a_round_that_is_over_gets_no_tasks_any_more(storage: BoardStorage) -> None:
    storage.put_tasks("r1", [NewTask("west", "t", b"{}")])
    storage.append(NewMessage("r1", "failed", "hub", b"x", decides=True, ends=True), now=1)
    storage.delete_round_tasks("r1")
    with pytest.raises(RoundOverError, match="r1"):
        storage.put_tasks("r1", [NewTask("west", "late", b"{}")])
    assert storage.task_rounds() == []
    assert storage.put_tasks("r2", [NewTask("west", "t2", b"{}")]) == ["west"]


def test_the_tasks_of_a_deleted_round_go_at_all_silos(storage: BoardStorage) -> None:
    storage.put_tasks("r1", [NewTask("west", "t", b"{}"), NewTask("east", "t", b"{}")])
    storage.put_tasks("r2", [NewTask("west", "u", b"{}")])
    storage.put_task("west", "v", b"{}", round_uid="r1")
    before = storage.tasks("west")[1]
    assert set(storage.task_rounds()) >= {"r1"}
    assert storage.delete_round_tasks("r1") == ["east", "west"]
    assert "r1" not in storage.task_rounds()
    assert storage.delete_round_tasks("r1") == []
    assert [task.name for task in storage.tasks("west")[0]] == ["u"]
    assert storage.tasks("west")[1] > before
    assert storage.tasks("east")[0] == ()


def test_a_board_of_the_first_format_is_taken_over_with_its_tasks_rounds(tmp_path: Path) -> None:
    storage = EmbeddedStorage(tmp_path, NO_RESERVE)
    post(storage, "r1")
    storage.close()
    old = sqlite3.connect(tmp_path / "board.sqlite")
    old.executescript("""
        DROP TABLE tasks; DROP TABLE changes; DROP TABLE feed_openings; PRAGMA user_version=1;
        CREATE TABLE tasks (silo TEXT NOT NULL, name TEXT NOT NULL, spec BLOB NOT NULL,
            status BLOB NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (silo, name)) WITHOUT ROWID;
    """)
    old.execute("INSERT INTO tasks VALUES ('west', 't', ?, ?, 4)", (b'{"roundUID":"r1"}', b"{}"))
    old.execute("INSERT INTO tasks VALUES ('west', 'u', ?, ?, 5)", (b"{}", b"{}"))
    old.commit()
    old.close()
    for _ in range(2):
        storage = EmbeddedStorage(tmp_path, NO_RESERVE)
        assert [task.name for task in storage.round_tasks("r1")] == ["t"]
        assert [task.revision for task in storage.tasks("west")[0]] == [4, 5]
        assert len(storage.page("r1", after=0, since=None, max_bytes=99).entries) == 1
        storage.close()


@pytest.mark.parametrize("end", ["Succeeded", "Failed"])
def test_a_late_word_of_a_silo_never_takes_back_that_a_task_is_over(storage: BoardStorage, end: str) -> None:
    storage.put_tasks("r1", [NewTask("west", "t", b"{}")])

    def say(phase: str, **more: str) -> bool:
        return storage.put_task_status("west", "t", json.dumps({"phase": phase, **more}).encode())

    def said() -> str:
        return str(json.loads(storage.tasks("west")[0][0].status)["phase"])

    assert say("Running")
    assert say(end)
    before = storage.changes(0).revision
    other = "Failed" if end == "Succeeded" else "Succeeded"
    for late in ("Pending", "Running", other):
        assert not say(late)
    assert not storage.put_task_status("west", "t", b"{}")
    assert said() == end
    assert changed(storage, before) == set(), "nothing woke the hub"
    assert say(end, message="why"), "it may still say more of its end"
    assert said() == end


def test_a_list_of_tasks_that_was_set_back_is_never_taken_for_the_one_that_a_silo_knows(
    tmp_path: Path,
) -> None:
    """As many changes after a backup was restored as were lost: the counts are equal, the lists are not."""
    place, backup = tmp_path / "board", tmp_path / "backup"

    def opened() -> EmbeddedStorage:
        return EmbeddedStorage(place, NO_RESERVE)

    storage = opened()
    storage.put_task("west", "kept", b"{}")
    storage.close()
    shutil.copytree(place, backup)
    storage = opened()
    storage.put_task("west", "lost", b"{}")
    known = storage.tasks("west")[1]
    storage.close()
    shutil.rmtree(place)
    backup.rename(place)
    storage = opened()
    storage.put_task("west", "another", b"{}")
    tasks, revision = storage.tasks("west")
    assert [task.name for task in tasks] == ["another", "kept"]
    assert revision != known, "the silo would wait for ever for what is there"
    assert storage.tasks("west")[1] == revision, "asked again it is the same list"
    storage.close()
