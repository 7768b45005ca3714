"""Releases for sites: written once by the hub, seen by the silos that they name."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedgestalt.exchange.errors import Code, RefusedError, ReleaseTakenError
from fedgestalt.exchange.storage import BoardStorage, EmbeddedStorage, Limits

from .conftest import Federation
from .memory_storage import MemoryStorage

NO_RESERVE = Limits(reserve_bytes=0)


@pytest.fixture(params=["embedded", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BoardStorage]:
    made: BoardStorage = (
        EmbeddedStorage(tmp_path / "board", NO_RESERVE) if request.param == "embedded" else MemoryStorage()
    )
    yield made
    made.close()


def names(storage: BoardStorage, silo: str | None) -> list[str]:
    return [release.name for release in storage.releases(silo)[0]]


def test_a_silo_sees_the_releases_that_name_it_and_the_hub_all(storage: BoardStorage) -> None:
    assert storage.releases(None) == storage.releases("west") == ((), 0)
    assert storage.put_release("b", b"{}", ["west", "east"])
    assert storage.put_release("a", b"{}", ["east", "east"])
    assert names(storage, "west") == ["b"]
    assert names(storage, "east") == names(storage, None) == ["a", "b"]
    assert names(storage, "north") == []


def test_a_list_changes_its_revision_with_its_own_releases_only(storage: BoardStorage) -> None:
    storage.put_release("one", b"{}", ["west"])
    west = storage.releases("west")[1]
    storage.put_release("two", b"{}", ["east"])
    assert storage.releases("west")[1] == west
    storage.put_release("three", b"{}", ["west"])
    assert storage.releases("west")[1] not in (0, west)


def test_a_release_is_written_once(storage: BoardStorage) -> None:
    assert storage.put_release("one", b'{"a":1}', ["west"])
    revision = storage.releases("west")[1]
    assert not storage.put_release("one", b'{"a":1}', ["west"])
    with pytest.raises(ReleaseTakenError, match="one"):
        storage.put_release("one", b'{"a":2}', ["west"])
    (release,), now = storage.releases("west")
    assert (release.spec, now) == (b'{"a":1}', revision)


def test_releases_and_revisions_outlive_a_restart_but_not_a_set_back(tmp_path: Path) -> None:
    board, copy = tmp_path / "board", tmp_path / "copy"
    storage = EmbeddedStorage(board, NO_RESERVE)
    storage.put_release("one", b"{}", ["west"])
    before = storage.releases("west")
    storage.close()
    shutil.copytree(board, copy)
    storage = EmbeddedStorage(board, NO_RESERVE)
    assert storage.releases("west") == before
    storage.put_release("two", b"{}", ["west"])
    lost = storage.releases("west")[1]
    storage.close()
    storage = EmbeddedStorage(copy, NO_RESERVE)
    storage.put_release("another", b"{}", ["west"])
    assert storage.releases("west")[1] != lost
    storage.close()


def test_a_waiting_site_gets_a_release_that_names_it_and_is_not_told_of_others(
    federation: Federation,
) -> None:
    hub, west = federation.client("hub"), federation.client("west")
    assert west.releases() == ([], 0)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(r.name for r in west.releases(20)[0]))
    thread.start()
    time.sleep(0.3)
    hub.put_release("for-east", {"silos": ["east", "north"], "digest": "sha256:00"})
    time.sleep(0.3)
    assert not found
    spec = {"silos": ["west", "east"], "note": "½"}
    hub.put_release("for-west", spec)
    thread.join(10)
    assert found == ["for-west"]
    hub.put_release("for-west", spec)
    (release,), revision = west.releases()
    assert release.spec == spec
    assert west.releases(0.2, after=revision)[1] == revision
    assert [r.name for r in hub.releases()[0]] == ["for-east", "for-west"]
    with pytest.raises(ReleaseTakenError):
        hub.put_release("for-west", spec | {"note": "changed"})


def test_only_the_hub_writes_releases_and_only_whole_ones(federation: Federation) -> None:
    hub, west = federation.client("hub"), federation.client("west")

    def code_of(call: Callable[[], object]) -> Code:
        with pytest.raises(RefusedError) as refusal:
            call()
        return refusal.value.code

    good = {"silos": ["west"]}
    assert code_of(lambda: west.put_release("mine", good)) is Code.FORBIDDEN
    for name, spec, code in (
        ("none", {}, Code.INVALID),
        ("none", {"silos": []}, Code.INVALID),
        ("none", {"silos": [1]}, Code.INVALID),
        ("none", {"silos": ["We st"]}, Code.INVALID),
        ("none", {"silos": ["west"] * 129}, Code.INVALID),
        ("None", good, Code.INVALID),
        ("none", good | {"x": "x" * 70_000}, Code.TOO_LARGE),
    ):
        assert code_of(lambda name=name, spec=spec: hub.put_release(name, spec)) is code  # type: ignore[misc]
    assert hub.releases() == ([], 0)
