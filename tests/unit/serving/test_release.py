"""A release is served only if every part is the one that the others name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.serving.release import ReleaseError, load_release
from fedgestalt_operator.api.round import Operation

from .conftest import CLASSES, Site, put_round, released, write


@pytest.fixture
def folder(site: Site, tmp_path: Path) -> Path:
    return shutil.copytree(site.folder, tmp_path / "release")


def test_a_whole_release_loads(folder: Path, site: Site) -> None:
    release = load_release(folder)
    assert release.digest == json.loads((folder / "release.json").read_bytes())["digest"]
    assert release.epoch == site.epoch
    assert release.federation_gallery == 12
    assert set(release.tokens.values()) == {item.name for item in CLASSES}
    assert all(secret not in repr(release) for secret in (CLASSES[0].name, "\\x01\\x01", "01" * 16))


def test_the_hubs_key_that_the_site_pins_counts(folder: Path) -> None:
    with pytest.raises(ReleaseError, match="hub"):
        load_release(folder, hub_key=Identity.generate().public)


def test_an_adopted_release_is_compared_with_its_parent(folder: Path, site: Site) -> None:
    bundle, parent = site.release.bundle.digest, site.round.manifest
    put_round(folder, released(bundle, 5, operation=Operation.ADOPT, base=site.round))
    (folder / "parent.json").write_bytes(parent)
    release = load_release(folder)
    assert release.operation == "Adopt"
    assert release.epoch == site.epoch
    assert release.parents == (site.release.digest,)
    assert release.federation_gallery == 15
    (folder / "parent.json").write_bytes((folder / "manifest.json").read_bytes())
    with pytest.raises(ReleaseError, match="parent"):
        load_release(folder)


def _edit(file: str, **fields: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        write(folder / file, json.loads((folder / file).read_bytes()) | fields)

    return edit


def _flip(folder: Path) -> None:
    path = folder / "bundle" / "r16.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _gallery(**fields: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        with np.load(folder / "gallery.npz") as archive:
            content = {name: archive[name] for name in archive.files}
        np.savez(folder / "gallery.npz", **(content | fields))  # type: ignore[arg-type]

    return edit


def _open(folder: Path) -> None:
    (folder / "keys.json").chmod(0o640)


def _garbage(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(b"\x00garbage")

    return spoil


def _missing(name: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        (folder / name).unlink()

    return remove


SPOILT: list[tuple[Callable[[Path], None], str]] = [
    (_edit("manifest.json", name="other"), "manifest.json: has digest"),
    (_edit("computation.json", name="other"), "computation"),
    (_edit("release.json", hubKey="0" * 64), "hub"),
    (_garbage("proof.cbor"), "proof"),
    (_edit("release.json", digest="0" * 64), "release.json names"),
    (_edit("release.json", epoch="0" * 64), "release.json: epoch"),
    (_edit("release.json", silo=7), "release.json: $.silo"),
    (_flip, "r16.safetensors differs"),
    (_garbage("bundle/manifest.json"), "is bundle"),
    (_open, "lets others read the keys"),
    (_edit("keys.json", frame="01" * 16), "keys.json: $.frame"),
    (_edit("keys.json", width=5), "keys.json has a width"),
    (_garbage("keys.json"), "keys.json: not JSON"),
    (_edit("vocabulary.json", rare=["no curie"]), "PREFIX:ID"),
    (_edit("vocabulary.json", rare="SYN:1"), "vocabulary.json: $.rare"),
    (_garbage("gallery.npz"), "gallery.npz: not a gallery"),
    (_gallery(embeddings=np.eye(8)), "gallery.npz: 8 numbers a row"),
    (_gallery(embeddings=np.ones((8, 1024))), "gallery.npz: not a gallery"),
    (_gallery(syndromes=np.array([object()] * 8)), "gallery.npz: not a gallery"),
    (_gallery(syndromes=np.array(["SYN:1"])), "gallery.npz: not a gallery"),
    (_gallery(handles=np.zeros((8, 4), np.uint8)), "gallery.npz: not a gallery"),
    *(
        (_missing(name), name)
        for name in (
            "release.json",
            "manifest.json",
            "computation.json",
            "proof.cbor",
            "keys.json",
            "vocabulary.json",
            "gallery.npz",
        )
    ),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
def test_a_spoilt_release_is_refused_by_name(folder: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(folder)
    with pytest.raises(ReleaseError) as caught:
        load_release(folder)
    message = str(caught.value)
    assert said in message
    assert "01" * 16 not in message
    assert "no curie" not in message
