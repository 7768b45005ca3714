"""The sealed bundle: the same bytes at every silo, open to its epoch alone, whole or not there."""

from pathlib import Path

import pytest

from fedgestalt.crypto.errors import SealError
from fedgestalt.silo.bundle import bundle_digest, open_bundle, seal_bundle

KEY, EPOCH = bytes(range(32)), b"e" * 32


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(b'{"members":[]}')
    (folder / "r50.safetensors").write_bytes(bytes(1000))
    return folder


def test_what_was_sealed_is_what_comes_out(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "bundle"
    open_bundle(seal_bundle(bundle, KEY, EPOCH), KEY, EPOCH, out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {
        p.name: p.read_bytes() for p in bundle.iterdir()
    }
    assert bundle_digest(out) == bundle_digest(bundle)
    open_bundle(
        seal_bundle(bundle, KEY, EPOCH), KEY, EPOCH, out
    )  # again, after a kill right before it was noted


def test_every_silo_makes_the_same_bytes_and_another_bundle_gets_another_nonce(bundle: Path) -> None:
    one = seal_bundle(bundle, KEY, EPOCH)
    assert seal_bundle(bundle, KEY, EPOCH) == one
    (bundle / "r50.safetensors").write_bytes(bytes(999) + b"1")
    assert seal_bundle(bundle, KEY, EPOCH)[:12] != one[:12]


@pytest.mark.parametrize("change", ["key", "epoch", "first", "last", "cut", "empty"])
def test_nothing_else_opens_it_and_nothing_is_left_behind(bundle: Path, tmp_path: Path, change: str) -> None:
    sealed, key, epoch = bytearray(seal_bundle(bundle, KEY, EPOCH)), KEY, EPOCH
    match change:
        case "key":
            key = bytes(32)
        case "epoch":
            epoch = b"f" * 32
        case "first":
            sealed[0] ^= 1
        case "last":
            sealed[-1] ^= 1
        case "cut":
            del sealed[-20:]
        case _:
            sealed.clear()
    out = tmp_path / "out" / "bundle"
    with pytest.raises(SealError):
        open_bundle(bytes(sealed), key, epoch, out)
    assert not out.exists()
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from fedgestalt.crypto.encoding import encode

    text = encode({"../evil": b"x"})
    sealed = bytes(12) + AESGCM(KEY).encrypt(bytes(12), text, EPOCH)
    with pytest.raises(SealError, match="no bundle"):
        open_bundle(sealed, KEY, EPOCH, tmp_path / "bundle")
    assert not (tmp_path.parent / "evil").exists()
