"""What every storage of the board does; each implementation runs the same tests."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedgestalt.exchange.chain import extend, genesis
from fedgestalt.exchange.errors import (
    BoardFullError,
    Code,
    ExchangeError,
    RefusedError,
    RoundOverError,
    SlotTakenError,
)
from fedgestalt.exchange.storage import BlobInfo, BoardStorage, EmbeddedStorage, Limits, NewMessage

from .conftest import digest_of
from .memory_storage import MemoryStorage

ALL = 1 << 20
Make = Callable[[Limits], BoardStorage]


@pytest.fixture(params=["embedded", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[BoardStorage] = []

    def build(limits: Limits) -> BoardStorage:
        made.append(
            EmbeddedStorage(tmp_path / "board", limits)
            if request.param == "embedded"
            else MemoryStorage(limits)
        )
        return made[-1]

    yield build
    for storage in made:
        storage.close()


@pytest.fixture
def storage(make: Make) -> BoardStorage:
    return make(Limits(reserve_bytes=0))


def message(slot: str, data: bytes, *, blobs: tuple[str, ...] = (), sender: str = "silo.west") -> NewMessage:
    return NewMessage("r1", slot, sender, data, blobs)


def send(storage: BoardStorage, data: bytes, owner: str = "silo.west") -> str:
    digest = digest_of(data)
    storage.write_chunk("r1", digest, owner, 0, data)
    storage.complete_blob("r1", digest, owner)
    return digest


def refusal(code: Code) -> pytest.RaisesExc[RefusedError]:
    return pytest.raises(RefusedError, check=lambda error: error.code is code)


def test_messages_form_a_hash_chain_with_times_that_never_decrease(storage: BoardStorage) -> None:
    places = [storage.append(message(f"s{k}", bytes([k])), now=now) for k, now in enumerate([100, 90, 200])]
    assert [place.seq for place in places] == [1, 2, 3]
    assert [place.received for place in places] == [100, 100, 200]
    link = genesis("r1")
    for k, place in enumerate(places):
        assert place.prev == link
        link = extend(link, place.seq, place.received, bytes([k]))
        assert place.hash == link


def test_a_slot_is_written_once(storage: BoardStorage) -> None:
    first = storage.append(message("s", b"one"), now=1)
    again = storage.append(message("s", b"one"), now=2)
    assert first.fresh
    assert not again.fresh
    assert (again.seq, again.received, again.hash) == (first.seq, first.received, first.hash)
    with pytest.raises(SlotTakenError):
        storage.append(message("s", b"two"), now=3)
    found = storage.find("r1", "s")
    assert found is not None
    assert found.data == b"one"
    assert storage.find("r2", "s") is None


def test_after_the_hubs_last_word_it_says_nothing_more_but_silos_may(storage: BoardStorage) -> None:
    last = NewMessage("r1", "failed", "hub.hub", b"last", decides=True, ends=True)
    assert storage.append(last, now=1).fresh
    with pytest.raises(RoundOverError):
        storage.append(NewMessage("r1", "stage", "hub.hub", b"resumed", decides=True), now=2)
    with pytest.raises(RoundOverError):
        storage.append(NewMessage("r1", "released", "hub.hub", b"another", decides=True, ends=True), now=2)
    assert not storage.append(last, now=3).fresh
    assert storage.append(message("s", b"late"), now=4).fresh
    assert storage.append(NewMessage("r2", "stage", "hub.hub", b"other", decides=True), now=5).fresh


def test_rounds_do_not_mix(storage: BoardStorage) -> None:
    storage.append(message("s", b"one"), now=1)
    other = storage.append(NewMessage("r2", "s", "hub.hub", b"two"), now=1)
    assert (other.seq, other.prev) == (1, genesis("r2"))


def test_a_page_ends_at_its_size_but_holds_at_least_one_message(storage: BoardStorage) -> None:
    for k in range(4):
        storage.append(message(f"s{k}", bytes(100)), now=k)
    assert [e.seq for e in storage.page("r1", after=0, since=None, max_bytes=250).entries] == [1, 2]
    page = storage.page("r1", after=2, since=None, max_bytes=1)
    assert [e.seq for e in page.entries] == [3]
    assert page.head == 4
    assert page.last is not None
    assert page.last.seq == 3
    end = storage.page("r1", after=4, since=None, max_bytes=1)
    assert end.entries == ()
    assert end.last is not None
    assert end.last.seq == 4
    assert storage.page("r1", after=9, since=None, max_bytes=1).last is None


def test_a_message_completes_when_its_last_blob_does(storage: BoardStorage) -> None:
    one, two = b"blob one", b"blob two"
    storage.append(message("s", b"m", blobs=(digest_of(one), digest_of(two))), now=1)
    revision = storage.page("r1", after=0, since=None, max_bytes=ALL).revision
    send(storage, one)
    page = storage.page("r1", after=1, since=revision, max_bytes=ALL)
    assert page.completed == ()
    assert not storage.page("r1", after=0, since=None, max_bytes=ALL).entries[0].complete
    send(storage, two, owner="hub.hub")
    page = storage.page("r1", after=1, since=revision, max_bytes=ALL)
    assert page.completed == (1,)
    assert storage.page("r1", after=1, since=page.revision, max_bytes=ALL).completed == ()
    assert storage.page("r1", after=1, since=None, max_bytes=ALL).completed == ()
    assert storage.page("r1", after=0, since=None, max_bytes=ALL).entries[0].complete


def test_a_message_whose_blobs_are_there_is_complete_at_once(storage: BoardStorage) -> None:
    digest = send(storage, b"data")
    storage.append(message("s", b"m", blobs=(digest, digest)), now=1)
    assert storage.page("r1", after=0, since=None, max_bytes=ALL).entries[0].complete


def test_an_upload_grows_at_its_end_only_and_repeats_are_told_the_offset(storage: BoardStorage) -> None:
    digest = digest_of(b"abcdef")
    assert storage.blob_status("r1", digest, "a").offset == 0
    assert storage.write_chunk("r1", digest, "a", 0, b"abc").offset == 3
    with refusal(Code.OFFSET_MISMATCH) as mismatch:
        storage.write_chunk("r1", digest, "a", 0, b"abc")
    assert mismatch.value.offset == 3
    with refusal(Code.BLOB_UNKNOWN):
        storage.read_blob("r1", digest, 0, 6)
    storage.write_chunk("r1", digest, "a", 3, b"def")
    assert storage.complete_blob("r1", digest, "a")
    assert not storage.complete_blob("r1", digest, "a")
    assert storage.read_blob("r1", digest, 1, 3) == b"bcd"
    assert storage.blob("r1", digest).length == 6
    assert storage.blob_status("r1", digest, "anybody").complete


def test_nobody_can_spoil_another_owners_upload(storage: BoardStorage) -> None:
    digest = digest_of(b"right")
    storage.write_chunk("r1", digest, "silo.mallory", 0, b"wrong")
    storage.write_chunk("r1", digest, "silo.west", 0, b"right")
    with refusal(Code.DIGEST_MISMATCH):
        storage.complete_blob("r1", digest, "silo.mallory")
    assert storage.complete_blob("r1", digest, "silo.west")
    assert storage.blob("r1", digest).owner == "silo.west"


def test_a_wrong_digest_drops_the_upload(storage: BoardStorage) -> None:
    digest = digest_of(b"right")
    storage.write_chunk("r1", digest, "a", 0, b"wrong")
    with refusal(Code.DIGEST_MISMATCH):
        storage.complete_blob("r1", digest, "a")
    assert storage.blob_status("r1", digest, "a").offset == 0
    storage.write_chunk("r1", digest, "a", 0, b"right")
    assert storage.complete_blob("r1", digest, "a")


def test_an_empty_blob_is_a_blob(storage: BoardStorage) -> None:
    digest = send(storage, b"")
    assert storage.blob("r1", digest).length == 0
    assert storage.read_blob("r1", digest, 0, 10) == b""


def test_of_a_deleted_blob_the_digest_stays(storage: BoardStorage) -> None:
    digest = send(storage, b"data")
    storage.append(message("s", b"m", blobs=(digest,)), now=1)
    storage.delete_blob("r1", digest)
    storage.delete_blob("r1", digest)
    with refusal(Code.BLOB_GONE):
        storage.read_blob("r1", digest, 0, 4)
    status = storage.blob_status("r1", digest, "a")
    assert status.complete
    assert status.deleted
    assert list(storage.deleted_blobs("r1")) == [digest]
    assert storage.page("r1", after=0, since=None, max_bytes=ALL).entries[0].complete
    with refusal(Code.BLOB_UNKNOWN):
        storage.delete_blob("r1", digest_of(b"never"))


def test_quotas_hold_per_sender_and_round(make: Make) -> None:
    storage = make(Limits(messages=2, message_bytes=100, blob_bytes=10, reserve_bytes=0))
    storage.append(message("1", b"x"), now=1)
    storage.append(message("2", b"x"), now=1)
    with refusal(Code.QUOTA_EXCEEDED):
        storage.append(message("3", b"x"), now=1)
    assert not storage.append(message("2", b"x"), now=1).fresh  # a repeat costs nothing
    storage.append(message("3", b"x", sender="silo.east"), now=1)
    with refusal(Code.QUOTA_EXCEEDED):
        storage.append(message("4", bytes(100), sender="silo.east"), now=1)
    first = send(storage, b"12345678")
    with refusal(Code.QUOTA_EXCEEDED):
        storage.write_chunk("r1", digest_of(b"abc"), "silo.west", 0, b"abc")
    storage.write_chunk("r1", digest_of(b"abc"), "silo.east", 0, b"abc")
    storage.delete_blob("r1", first)
    storage.write_chunk("r1", digest_of(b"abc"), "silo.west", 0, b"abc")


def test_who_has_used_up_the_quota_can_still_end_the_round(make: Make) -> None:
    storage = make(Limits(messages=1, message_bytes=1, reserve_bytes=0))
    storage.append(message("1", b"x", sender="hub"), now=1)
    with refusal(Code.QUOTA_EXCEEDED):
        storage.append(replace(message("2", b"x", sender="hub"), decides=True), now=1)
    last = replace(message("3", b"xx", sender="hub"), decides=True, ends=True)
    assert storage.append(last, now=1).fresh
    assert not storage.append(last, now=1).fresh


@pytest.mark.parametrize("size", [0, 5, 256 * 1024, 256 * 1024 + 1, 1 << 20])
def test_a_whole_blob_in_one_piece_is_as_one_in_chunks(storage: BoardStorage, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    digest = digest_of(data)
    storage.append(message("s", b"m", blobs=(digest,)), now=1)
    storage.write_chunk("r1", digest, "silo.west", 0, b"half of another upload")
    with refusal(Code.DIGEST_MISMATCH):
        storage.put_blob("r1", digest, "silo.west", b"wrong")
    assert storage.put_blob("r1", digest, "silo.west", data)
    assert not storage.put_blob("r1", digest, "silo.east", data)
    assert storage.page("r1", after=0, since=None, max_bytes=ALL).entries[0].complete
    assert storage.blob("r1", digest) == BlobInfo(size, "silo.west")
    assert storage.read_blob("r1", digest, 2, 2) == data[2:4]
    assert storage.read_blob("r1", digest, 0, size + 9) == data
    storage.delete_blob("r1", digest)
    with refusal(Code.BLOB_GONE):
        storage.read_blob("r1", digest, 0, 4)
    assert not storage.put_blob("r1", digest, "silo.west", data)
    with refusal(Code.TOO_LARGE):
        storage.put_blob("r1", digest_of(b""), "a", bytes((1 << 20) + 1))


def test_small_blobs_count_against_the_quota_and_outlive_a_restart(tmp_path: Path) -> None:
    storage = EmbeddedStorage(tmp_path, Limits(blob_bytes=10, reserve_bytes=0))
    assert storage.put_blob("r1", digest_of(b"12345678"), "silo.west", b"12345678")
    with refusal(Code.QUOTA_EXCEEDED):
        storage.put_blob("r1", digest_of(b"abc"), "silo.west", b"abc")
    storage.close()
    storage = EmbeddedStorage(tmp_path, Limits(reserve_bytes=0))
    assert storage.read_blob("r1", digest_of(b"12345678"), 0, 8) == b"12345678"
    storage.close()


def test_of_a_small_blob_that_was_deleted_nothing_stays_in_the_files(tmp_path: Path) -> None:
    storage = EmbeddedStorage(tmp_path, Limits(reserve_bytes=0))
    data = b"masked and gone " * 2000
    storage.put_blob("r1", digest_of(data), "silo.west", data)
    storage.delete_blob("r1", digest_of(data))
    storage.close()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"masked and gone" not in path.read_bytes()


def test_chunks_have_a_limit(storage: BoardStorage) -> None:
    with refusal(Code.TOO_LARGE):
        storage.write_chunk("r1", digest_of(b""), "a", 0, bytes((1 << 20) + 1))


def test_a_tasks_list_changes_its_revision_with_every_change_by_the_hub(storage: BoardStorage) -> None:
    assert storage.tasks("west") == ((), 0)
    first = storage.put_task("west", "t1", b'{"a":1}')
    assert storage.put_task("west", "t1", b'{"a":1}').revision == first.revision
    storage.put_task("east", "t1", b"{}")
    storage.put_task_status("west", "t1", b'{"phase":"Running"}')
    changed = storage.put_task("west", "t1", b'{"a":2}')
    tasks, revision = storage.tasks("west")
    assert changed.revision > first.revision
    assert storage.tasks("west")[1] == revision > 0
    assert [(task.name, task.spec, task.status) for task in tasks] == [
        ("t1", b'{"a":2}', b'{"phase":"Running"}')
    ]
    storage.delete_task("west", "t1")
    assert storage.tasks("west")[0] == ()
    assert storage.tasks("west")[1] > revision
    with refusal(Code.TASK_UNKNOWN):
        storage.put_task_status("west", "t1", b"{}")


def test_everything_is_there_after_opening_again(tmp_path: Path) -> None:
    limits = Limits(reserve_bytes=0)
    storage = EmbeddedStorage(tmp_path, limits)
    digest = send(storage, b"data")
    half = digest_of(b"half sent")
    storage.write_chunk("r1", half, "silo.west", 0, b"half")
    place = storage.append(message("s", b"m", blobs=(digest,)), now=5)
    storage.put_task("west", "t", b"{}")
    storage.close()
    storage = EmbeddedStorage(tmp_path, limits)
    assert storage.append(message("s", b"m", blobs=(digest,)), now=9).hash == place.hash
    assert storage.read_blob("r1", digest, 0, 4) == b"data"
    assert storage.blob_status("r1", half, "silo.west").offset == 4
    assert len(storage.tasks("west")[0]) == 1
    storage.close()


def test_bytes_that_a_crash_left_without_a_record_are_swept(tmp_path: Path) -> None:
    storage = EmbeddedStorage(tmp_path, Limits(reserve_bytes=0))
    digest = send(storage, b"data")
    storage.close()
    orphan = tmp_path / "rounds" / "r1" / "blobs" / digest_of(b"orphan")
    orphan.write_bytes(b"orphan")
    storage = EmbeddedStorage(tmp_path, Limits(reserve_bytes=0))
    assert not orphan.exists()
    assert send(storage, b"orphan") == orphan.name
    assert storage.read_blob("r1", digest, 0, 4) == b"data"
    storage.close()


def test_a_full_disk_is_said_with_a_time_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = EmbeddedStorage(tmp_path, Limits(reserve_bytes=1 << 20, retry_after=7))
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 19)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BoardFullError) as full:
        storage.append(message("s", b"m"), now=1)
    assert full.value.retry_after == 7
    with pytest.raises(BoardFullError):
        storage.write_chunk("r1", digest_of(b"x"), "a", 0, b"x")
    monkeypatch.undo()
    assert storage.append(message("s", b"m"), now=1).seq == 1
    storage.close()


def test_a_chunk_that_the_disk_cut_short_leaves_the_upload_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = EmbeddedStorage(tmp_path, Limits(reserve_bytes=0))
    digest = digest_of(b"abcdef")
    storage.write_chunk("r1", digest, "a", 0, b"abc")
    path = tmp_path / "rounds" / "r1" / "sending" / "a" / digest
    real = Path.open

    class Cut:
        def __init__(self, file: object) -> None:
            self.file = file

        def __enter__(self) -> Cut:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()  # type: ignore[attr-defined]

        def write(self, data: bytes) -> int:
            self.file.write(data[:1])  # type: ignore[attr-defined]
            self.file.flush()  # type: ignore[attr-defined]
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda self, *a: Cut(real(self, *a)))
    with pytest.raises(BoardFullError):
        storage.write_chunk("r1", digest, "a", 3, b"def")
    monkeypatch.undo()
    assert path.read_bytes() == b"abc"
    storage.write_chunk("r1", digest, "a", 3, b"def")
    assert storage.complete_blob("r1", digest, "a")
    storage.close()


def test_the_boards_files_are_private(tmp_path: Path) -> None:
    storage = EmbeddedStorage(tmp_path / "board", Limits(reserve_bytes=0))
    send(storage, b"data")
    assert (tmp_path / "board").stat().st_mode & 0o077 == 0
    assert (tmp_path / "board" / "board.sqlite").stat().st_mode & 0o077 == 0
    storage.close()


def test_one_board_is_served_by_one_exchange(tmp_path: Path) -> None:
    storage = EmbeddedStorage(tmp_path, Limits(reserve_bytes=0))
    with pytest.raises(ExchangeError, match="another exchange"):
        EmbeddedStorage(tmp_path)
    storage.close()
    EmbeddedStorage(tmp_path).close()
