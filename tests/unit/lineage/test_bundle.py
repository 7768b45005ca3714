"""The weights beside a release are those that it names: a real bundle passes, each alteration is found."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import rfc8785

from fedgestalt.lineage import Manifest
from fedgestalt.lineage.bundle import check_bundle

from .conftest import Released

SEALED = b"sealed"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A bundle of two small networks, as silos write it, and its digest."""
    from fedgestalt.models.bundle import MemberSpec, save_bundle
    from fedgestalt.models.registry import build_extractor

    folder = tmp_path_factory.mktemp("made") / "bundle"
    extractor = build_extractor("resnet_s16")
    members = [(MemberSpec(name, "resnet_s16"), extractor) for name in ("m0", "frozen")]
    return folder, save_bundle(folder, members)


@pytest.fixture
def stored(tmp_path: Path, made: tuple[Path, str], release: Released) -> tuple[Path, Manifest]:
    """A release's folder with both bundles, and its manifest (whose proof is not looked at here)."""
    folder, digest = made
    copy = tmp_path / "bundle"
    copy.mkdir()
    for item in folder.iterdir():
        (copy / item.name).write_bytes(item.read_bytes())
    (tmp_path / "bundle.sealed").write_bytes(SEALED)
    document = json.loads(release.manifest)
    document["bundle"] = {"digest": hashlib.sha256(SEALED).hexdigest(), "plain": digest}
    return tmp_path, Manifest.parse(rfc8785.dumps(document))


def test_a_real_bundle_has_no_problem(stored: tuple[Path, Manifest]) -> None:
    assert check_bundle(*stored) == []
    (stored[0] / "bundle.sealed").unlink()
    assert check_bundle(*stored) == []


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        ("bundle/stray", b"", "stray"),
        ("bundle/m0.safetensors", b"other weights", "m0.safetensors differs"),
        ("bundle/m0.safetensors", None, "m0.safetensors is missing"),
        ("bundle/manifest.json", b"{}", "not the bundle"),
        ("bundle/manifest.json", None, "missing"),
        ("bundle.sealed", b"other", "bundle.sealed"),
    ],
)
def test_each_alteration_is_one_problem_that_names_it(
    stored: tuple[Path, Manifest], path: str, content: bytes | None, named: str
) -> None:
    folder, manifest = stored
    if content is None:
        (folder / path).unlink()
    else:
        (folder / path).write_bytes(content)
    (problem,) = check_bundle(folder, manifest)
    assert problem.finding == "BundleMismatch"
    assert named in problem.detail


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"members": [{"name": "m0", "file": "../../keys.json", "digest": "sha256:00"}]}, "keys.json"),
        ({"members": []}, "members"),
        ({"members": [7]}, "no manifest"),
        ([], "no manifest"),
    ],
)
def test_a_bundle_that_the_release_names_but_that_is_none_is_refused(
    tmp_path: Path, release: Released, members: object, named: str
) -> None:
    raw = rfc8785.dumps(members)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_bytes(raw)
    document = json.loads(release.manifest)
    document["bundle"]["plain"] = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    found = check_bundle(tmp_path, Manifest.parse(rfc8785.dumps(document)))
    assert any(named in problem.detail for problem in found)


def test_a_release_that_names_no_bundle_or_has_none_beside_it_cannot_be_compared(
    tmp_path: Path, release: Released
) -> None:
    assert "fetch the bundle" in check_bundle(tmp_path, Manifest.parse(release.manifest))[0].detail
    document = json.loads(release.manifest)
    del document["bundle"]
    assert "names no bundle" in check_bundle(tmp_path, Manifest.parse(rfc8785.dumps(document)))[0].detail
