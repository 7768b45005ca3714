"""Releases lie whole in their store or not at all, and are found by whatever names them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedgestalt.lineage import ReleaseStore, StoreError
from fedgestalt.lineage import store as store_module
from fedgestalt.lineage.store import tree

from .conftest import Released


def put(store: ReleaseStore, release: Released, **files: bytes | Path) -> str:
    stored = store.put(
        release.manifest,
        release.computation,
        release.proof,
        files={name.replace("_", "."): content for name, content in files.items()},
    )
    return stored.digest


def test_a_release_comes_back_as_the_same_bytes_and_private(tmp_path: Path, release: Released) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "s16.safetensors").write_bytes(b"weights")
    store = ReleaseStore(tmp_path / "releases")
    digest = put(store, release, bundle=tmp_path / "made", gallery_npz=b"rows")
    stored = store.get(digest)
    assert stored.read("manifest.json") == release.manifest
    assert stored.read("computation.json") == release.computation
    assert stored.read("proof.cbor") == release.proof
    assert (stored.folder / "bundle" / "s16.safetensors").read_bytes() == b"weights"
    assert stored.folder.stat().st_mode & 0o777 == 0o700
    files = [item for item in stored.folder.rglob("*") if item.is_file()]
    assert {item.stat().st_mode & 0o777 for item in files} == {0o600}


def test_storing_again_changes_nothing_and_adds_what_was_not_there(tmp_path: Path, release: Released) -> None:
    store = ReleaseStore(tmp_path)
    digest = put(store, release)
    before = (tmp_path / digest / "proof.cbor").stat().st_mtime_ns
    assert put(store, release, gallery_npz=b"rows") == digest
    assert (tmp_path / digest / "proof.cbor").stat().st_mtime_ns == before
    assert (tmp_path / digest / "gallery.npz").read_bytes() == b"rows"
    assert [item.name for item in tmp_path.iterdir()] == [digest]


def test_a_crash_while_storing_leaves_no_release_and_the_next_attempt_stores_it(
    tmp_path: Path, release: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ReleaseStore(tmp_path)
    written = []
    real = store_module._write

    def crash_at_the_proof(path: Path, content: bytes | Path) -> None:
        if path.name == "proof.cbor":
            raise OSError("no space left on device")
        real(path, content)
        written.append(path.name)

    monkeypatch.setattr(store_module, "_write", crash_at_the_proof)
    with pytest.raises(OSError, match="no space"):
        put(store, release)
    assert written == ["manifest.json", "computation.json"]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert store.get(put(store, release)).read("proof.cbor") == release.proof


def test_a_folder_that_a_killed_process_left_is_no_release(tmp_path: Path, release: Released) -> None:
    store = ReleaseStore(tmp_path)
    digest = put(store, release)
    (tmp_path / digest).rename(tmp_path / f".{digest[:16]}.0badcafe")
    assert store.list() == ((), ())
    assert put(store, release) == digest
    assert [item.name for item in tmp_path.iterdir()] == [digest]


def test_parts_of_different_releases_are_not_stored_together(
    tmp_path: Path, release: Released, adopted: Released
) -> None:
    store = ReleaseStore(tmp_path)
    with pytest.raises(StoreError, match="another computation"):
        store.put(release.manifest, adopted.computation, release.proof)
    with pytest.raises(StoreError, match="sealed bundle"):
        put(store, release, bundle_sealed=b"another")
    with pytest.raises(StoreError, match="proof"):
        store.put(release.manifest, release.computation, b"")
    with pytest.raises(StoreError, match="name"):
        store.put(release.manifest, release.computation, release.proof, files={"../up": b""})
    assert not list(tmp_path.iterdir())


def test_another_proof_under_the_same_digest_is_refused(
    tmp_path: Path, release: Released, adopted: Released
) -> None:
    store = ReleaseStore(tmp_path)
    put(store, release)
    with pytest.raises(StoreError, match=r"proof\.cbor differs"):
        store.put(release.manifest, release.computation, adopted.proof)


def test_releases_are_found_by_digest_beginning_and_name_and_choices_are_listed(
    tmp_path: Path, release: Released, adopted: Released
) -> None:
    store = ReleaseStore(tmp_path)
    first, second = put(store, release), put(store, adopted)
    for reference in (first, f"sha256:{first}", first[:8]):
        assert store.resolve(reference).digest == first
    with pytest.raises(StoreError, match="several releases fit 'demo'") as error:
        store.resolve("demo")
    assert first[:12] in str(error.value)
    assert second[:12] in str(error.value)
    for reference in ("none", first[:3], "0" * 64):
        with pytest.raises(StoreError):
            store.resolve(reference)


def test_a_single_release_is_found_by_the_name_of_its_round(tmp_path: Path, release: Released) -> None:
    store = ReleaseStore(tmp_path)
    digest = put(store, release)
    assert store.resolve("demo").digest == digest


def test_children_stand_below_their_parents_and_siblings_by_time(
    tmp_path: Path, release: Released, adopted: Released, rotated: Released
) -> None:
    store = ReleaseStore(tmp_path)
    parent, late, early = (put(store, r) for r in (release, adopted, rotated))
    for digest, when in ((parent, 300), (early, 100), (late, 200)):
        os.utime(tmp_path / digest / "manifest.json", (when, when))
    releases, damaged = store.list()
    assert [(depth, r.digest) for depth, r in tree(list(releases))] == [(0, parent), (1, early), (1, late)]
    assert damaged == ()


def test_a_damaged_release_is_named_and_hides_no_other(
    tmp_path: Path, release: Released, adopted: Released
) -> None:
    store = ReleaseStore(tmp_path)
    first, second = put(store, release), put(store, adopted)
    (tmp_path / first / "manifest.json").write_bytes(adopted.manifest)
    releases, damaged = store.list()
    assert [r.digest for r in releases] == [second]
    assert len(damaged) == 1
    assert first in damaged[0]
    with pytest.raises(StoreError, match="fetch it again"):
        store.get(first)
