from pathlib import Path

import pytest

from fedgestalt.silo.store import DiskStore, SecretConflictError


def test_a_value_survives_reopening(tmp_path: Path) -> None:
    first = DiskStore(tmp_path / "a.sqlite")
    first.put("secagg/x/root", b"\x01" * 32)
    first.close()
    assert DiskStore(tmp_path / "a.sqlite").get("secagg/x/root") == b"\x01" * 32


def test_a_key_is_written_once_and_the_error_shows_no_value(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "a.sqlite")
    store.put("k", b"first-secret")
    store.put("k", b"first-secret")
    with pytest.raises(SecretConflictError) as caught:
        store.put("k", b"second-secret")
    assert "secret" not in str(caught.value).replace("'k'", "")
    assert store.get("k") == b"first-secret"


def test_delete_takes_a_prefix_and_nothing_else(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "a.sqlite")
    for key in ("secagg/r/1/a", "secagg/r/1/b", "secagg/r/10/a", "epoch/x"):
        store.put(key, b"v")
    store.delete("secagg/r/1/")
    assert [
        key for key in ("secagg/r/1/a", "secagg/r/1/b", "secagg/r/10/a", "epoch/x") if store.get(key)
    ] == [
        "secagg/r/10/a",
        "epoch/x",
    ]


def test_a_deleted_secret_is_gone_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    store = DiskStore(path)
    marker = b"CANARY-SECRET-0123456789-CANARY!"
    store.put("secagg/r/1/root", marker)
    store.delete("secagg/r/1/")
    store.close()
    assert all(marker not in file.read_bytes() for file in tmp_path.iterdir())


def test_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    store = DiskStore(path)  # kept: closing would take the journal away while it is looked at
    store.put("k", b"v")
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())
    store.close()
