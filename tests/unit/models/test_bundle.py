import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rfc8785

from fedgestalt.models.bundle import (
    MANIFEST,
    BundleError,
    MemberSpec,
    load_bundle,
    module_tensors,
    save_bundle,
)
from fedgestalt.models.digest import file_digest, model_hash
from fedgestalt.models.extractor import Extractor
from fedgestalt.models.registry import build_extractor

SPECS = (MemberSpec("tuned", "resnet_s16"), MemberSpec("frozen", "resnet_s16", {"embedding_dim": 32}))


@pytest.fixture
def members() -> list[tuple[MemberSpec, Extractor]]:
    return [(spec, build_extractor(spec.extractor, **spec.options)) for spec in SPECS]


@pytest.fixture
def bundle(tmp_path: Path, members: list[tuple[MemberSpec, Extractor]]) -> tuple[Path, str]:
    folder = tmp_path / "bundle"
    return folder, save_bundle(folder, members)


def test_a_bundle_gives_back_its_members_in_order(
    bundle: tuple[Path, str], members: list[tuple[MemberSpec, Extractor]]
) -> None:
    loaded = load_bundle(*bundle)
    assert loaded.specs == SPECS
    assert loaded.digest == bundle[1]
    for member, (spec, module) in zip(loaded.ensemble.members, members, strict=True):
        assert member.name == spec.name
        assert model_hash(module_tensors(member.extractor)) == model_hash(module_tensors(module))
    images = np.zeros((1, 112, 112, 3), dtype=np.uint8)
    assert loaded.ensemble.encode(images).shape == (1, 4 * (256 + 32))


def test_the_same_members_give_the_same_bytes(
    bundle: tuple[Path, str], members: list[tuple[MemberSpec, Extractor]], tmp_path: Path
) -> None:
    assert save_bundle(tmp_path / "again", members) == bundle[1]
    for path in bundle[0].iterdir():
        assert file_digest(path) == file_digest(tmp_path / "again" / path.name)


def _flip_last_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _swap(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["members"].reverse()
    (folder / MANIFEST).write_bytes(rfc8785.dumps(manifest))


def _escape(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["members"][0]["file"] = "../tuned.safetensors"
    (folder / MANIFEST).write_bytes(rfc8785.dumps(manifest))


def _reformat(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


TAMPERING: dict[str, Callable[[Path], object]] = {
    "weights": lambda folder: _flip_last_byte(folder / "tuned.safetensors"),
    "missing": lambda folder: (folder / "frozen.safetensors").unlink(),
    "unlisted": lambda folder: (folder / "extra.safetensors").write_bytes(b""),
    "no-manifest": lambda folder: (folder / MANIFEST).unlink(),
    "no-json": lambda folder: (folder / MANIFEST).write_bytes(b"{"),
    "escape": _escape,
    "reformatted": _reformat,
}


@pytest.mark.parametrize("how", sorted(TAMPERING))
def test_tampering_is_found_without_knowing_the_digest(bundle: tuple[Path, str], how: str) -> None:
    TAMPERING[how](bundle[0])
    with pytest.raises(BundleError):
        load_bundle(bundle[0])


def test_a_consistent_forgery_is_found_by_the_digest(bundle: tuple[Path, str]) -> None:
    _swap(bundle[0])
    load_bundle(bundle[0])
    with pytest.raises(BundleError, match=bundle[1]):
        load_bundle(*bundle)


def test_bad_weights_are_not_parsed_before_their_digest_is_checked(
    bundle: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[Path] = []
    monkeypatch.setattr(
        "fedgestalt.models.bundle.load_initial_weights", lambda module, path: parsed.append(path)
    )
    _flip_last_byte(bundle[0] / "frozen.safetensors")
    with pytest.raises(BundleError, match="frozen"):
        load_bundle(*bundle)
    assert parsed == []


def test_bundles_are_never_overwritten_nor_half_written(
    bundle: tuple[Path, str], members: list[tuple[MemberSpec, Extractor]], tmp_path: Path
) -> None:
    with pytest.raises(FileExistsError):
        save_bundle(bundle[0], members)
    twins = [members[0], members[0]]
    with pytest.raises(ValueError, match="same name"):
        save_bundle(tmp_path / "twins", twins)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_counters_do_not_travel() -> None:
    tensors = module_tensors(build_extractor("resnet_s16"))
    assert not [name for name in tensors if name.endswith("num_batches_tracked")]
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
