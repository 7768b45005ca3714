"""What the hub deletes when a round is over, announced things that never came included."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from fedgestalt.exchange.errors import Code, RefusedError, refused
from fedgestalt.secagg.messages import Kind
from fedgestalt_operator.hub.releases import HubReleases


class Client:
    """Refuses as the exchange does."""

    def __init__(self, code: Code) -> None:
        self.code = code

    def delete_blob(self, round_uid: str, digest: str) -> None:
        raise refused(self.code, f"{round_uid} {digest}")


def releases(folder: Path, code: Code) -> HubReleases:
    return HubReleases(folder, Client(code), None)  # type: ignore[arg-type]


def test_a_blob_that_never_came_is_as_good_as_deleted(tmp_path: Path) -> None:
    releases(tmp_path, Code.BLOB_UNKNOWN).delete_blob("round", "ab" * 32)
    with pytest.raises(RefusedError):
        releases(tmp_path, Code.FORBIDDEN).delete_blob("round", "ab" * 32)


class Epochs:
    """Refuses the rows of some silos."""

    def __init__(self, refusals: dict[str, Code]) -> None:
        self.refusals, self.taken = refusals, list[str]()

    def take_rows(self, epoch: str, owner: str, *, round_uid: str, digest: str) -> None:
        if owner in self.refusals:
            raise refused(self.refusals[owner], owner)
        self.taken.append(owner)


def test_rows_that_cannot_be_served_do_not_keep_the_others_from_being_published(tmp_path: Path) -> None:
    epochs = Epochs({"north": Code.ROWS_INVALID, "south": Code.HANDLE_TAKEN, "east": Code.BLOB_GONE})
    releases = HubReleases(tmp_path, None, epochs)  # type: ignore[arg-type]
    for owner in ("north", "south", "east", "west"):
        releases._take("ab" * 32, owner, "round", "cd" * 32)
    assert epochs.taken == ["west"]
    epochs.refusals["west"] = Code.FORBIDDEN
    with pytest.raises(RefusedError):
        releases._take("ab" * 32, "west", "round", "cd" * 32)


def test_rows_that_the_kernel_refused_are_deleted_and_not_served(tmp_path: Path) -> None:
    class Serving(Epochs):
        def open(self, epoch: str, release: str, silos: list[str]) -> None:
            self.opened = silos

    class Blobs:
        deleted: ClassVar[list[str]] = []

        def delete_blob(self, round_uid: str, digest: str) -> None:
            self.deleted.append(digest)

    def message(kind: Kind, sender: str, **body: object) -> SimpleNamespace:
        return SimpleNamespace(
            slot=SimpleNamespace(kind=kind, sender=sender, enrolment=1), body=body, blobs=[sender]
        )

    names = ("east", "north", "west")
    said = [message(Kind.ROWS, name) for name in names]
    said.append(message(Kind.ROWS_CLOSED, "hub", silos=list(names)))
    said.append(message(Kind.RANKINGS, "hub", owners={"north": b"", "west": b""}))
    epochs, blobs = Serving({}), Blobs()
    (tmp_path / "ef").mkdir()
    manifest = {"operation": "Train", "epoch": "ab" * 32, "rows": {n: {"undiagnosed": 0} for n in names}}
    releases = HubReleases(tmp_path, blobs, epochs)  # type: ignore[arg-type]
    releases._serve("round", "ef", manifest, said)  # type: ignore[arg-type]
    assert epochs.taken == ["north", "west"]
    assert blobs.deleted == list(names)
    assert epochs.opened == list(names), "it holds the epoch's key as the others do"


def test_an_epoch_that_was_rotated_is_seen_with_its_successor(tmp_path: Path) -> None:
    class Ended:
        def status(self, epoch: str) -> None:
            raise refused(Code.EPOCH_ENDED, epoch, successor="cd" * 32)

        def open(self, epoch: str, release: str, silos: list[str]) -> None:
            raise refused(Code.EPOCH_ENDED, epoch, successor="cd" * 32)

    releases = HubReleases(tmp_path, None, Ended())  # type: ignore[arg-type]
    state = releases.epoch("ab" * 32)
    assert state is not None
    assert state.successor == "cd" * 32
    # Newcomers' release whose epoch a rotation ended meanwhile: it is kept, and the hub does not wait for ever.
    manifest = {"operation": "Train", "rows": {"west": {}}}
    assert not releases._open("ab" * 32, "ef" * 32, manifest)
