"""What `fedgestalt release` prints and with which exit code it ends."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import rfc8785
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedgestalt.cli.main import main
from fedgestalt.crypto.encoding import encode
from fedgestalt.lineage import Proof, ReleaseStore
from fedgestalt.lineage.bundle import check_bundle
from fedgestalt.secagg.messages import sign

from .conftest import Released


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["release", *map(str, arguments)])


@pytest.fixture
def work(tmp_path: Path, release: Released, adopted: Released) -> Path:
    """A federation's work directory with two releases at the hub."""
    store = ReleaseStore(tmp_path / "hub" / "releases")
    for r in (release, adopted):
        store.put(r.manifest, r.computation, r.proof)
    return tmp_path


@pytest.fixture
def keys(tmp_path: Path, release: Released, adopted: Released) -> list[str | Path]:
    """Options that pin every key."""
    hub, silos = tmp_path / "hub.pem", tmp_path / "silos.json"
    public = Ed25519PublicKey.from_public_bytes(release.hub_key)
    hub.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    silos.write_text(json.dumps({name: key.hex() for name, key in adopted.identities.items()}))
    return ["--hub-key", hub, "--identities", silos]


def name_of(release: Released) -> str:
    return hashlib.sha256(release.manifest).hexdigest()


def test_list_shows_each_release_below_the_one_that_it_continues(
    work: Path, release: Released, adopted: Released
) -> None:
    done = run("list", "--dir", work)
    assert done.exit_code == 0, done.output
    first, second = done.output.splitlines()
    assert first.startswith(name_of(release)[:12])
    assert second.startswith(f"  {name_of(adopted)[:12]}")
    assert "Adopt" in second
    assert "5 silos" in second


def test_list_names_what_is_damaged_and_fails(work: Path, release: Released) -> None:
    (work / "hub" / "releases" / name_of(release) / "manifest.json").write_bytes(b"{}")
    done = run("list", "--dir", work)
    assert done.exit_code == 1
    assert name_of(release) in done.output


def test_show_says_what_the_release_is_and_what_cannot_be_undone(work: Path, release: Released) -> None:
    done = run("show", name_of(release)[:12], "--dir", work)
    assert done.exit_code == 0, done.output
    for expected in ("Train", "synthetic", "silo-03", "gallery", "top-10", "begun by this round", "m0"):
        assert expected in done.output
    assert "95.0" in done.output, "the last figure of the table, in per cent"
    undone = done.output.partition("cannot undo")[2]
    assert "trained weights" in undone
    assert "a hub that kept old rows" in undone


def test_show_names_a_damaged_file(work: Path, release: Released) -> None:
    for content in (b"[]", b"{}", b"\xff"):
        (work / "hub" / "releases" / name_of(release) / "computation.json").write_bytes(content)
        done = run("show", name_of(release), "--dir", work)
        assert done.exit_code == 1
        assert "computation.json is damaged" in done.output


def test_show_names_the_parent_and_the_older_epoch_of_an_adopted_release(
    work: Path, release: Released, adopted: Released
) -> None:
    done = run("show", name_of(adopted), "--dir", work)
    assert done.exit_code == 0, done.output
    assert name_of(release)[:12] in done.output
    assert "of an earlier round" in done.output
    assert "Evaluation: none" in done.output


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"rotationDue": true, "tombstones": 2}', "RotationDue: 2 case(s) withdrawn"),
        ('{"rotationDue": false, "tombstones": 0}', "not due"),
        ('{"rotationDue": "yes"}', "not known"),
        ("{", "not known"),
    ],
)
def test_show_says_whether_a_rotation_is_due(
    work: Path, release: Released, content: str, expected: str
) -> None:
    (work / "hub" / "releases" / name_of(release) / "epoch.json").write_text(content)
    assert expected in run("show", name_of(release), "--dir", work).output


def test_verify_succeeds_with_pinned_keys(
    work: Path, keys: list[str | Path], release: Released, adopted: Released
) -> None:
    for r in (release, adopted):
        done = run("verify", name_of(r)[:8], "--dir", work, *keys, "--strict")
        assert done.exit_code == 0, done.output
        assert "verified; signed by silo-00" in done.output
        assert "not pinned" not in done.output


def test_verify_says_what_it_took_on_trust_and_strict_refuses_it(work: Path, release: Released) -> None:
    done = run("verify", name_of(release), "--dir", work)
    assert done.exit_code == 0
    assert done.output.count("not pinned:") == 2
    assert "as far as keys were pinned" in done.output
    assert run("verify", name_of(release), "--dir", work, "--strict").exit_code == 1


def test_a_silo_checks_against_the_hub_key_that_it_pinned(tmp_path: Path, release: Released) -> None:
    pinned = {"hubKey": release.hub_key.hex()}
    for key, code in ((pinned, 0), ({"hubKey": "00" * 32}, 1), ({}, 2)):
        site = tmp_path / f"site-{code}"
        ReleaseStore(site / "releases").put(
            release.manifest,
            release.computation,
            release.proof,
            files={"release.json": json.dumps(key).encode()},
        )
        assert run("verify", "demo", "--dir", site).exit_code == code


def test_verify_names_every_problem_and_fails(work: Path, keys: list[str | Path], release: Released) -> None:
    (work / "hub" / "releases" / name_of(release) / "computation.json").write_bytes(b"{}")
    done = run("verify", name_of(release), "--dir", work, *keys)
    assert done.exit_code == 1
    assert "ComputationMalformed" in done.output
    (work / "hub" / "releases" / name_of(release) / "proof.cbor").unlink()
    done = run("verify", name_of(release), "--dir", work, *keys)
    assert done.exit_code == 1
    assert "proof.cbor" in done.output


def test_a_proof_cannot_make_a_terminal_obey(work: Path, keys: list[str | Path], release: Released) -> None:
    first = Proof.parse(release.proof).messages[0]
    slot = replace(first.slot, round="\x1b[2J")
    stray = sign(slot, first.body, first.blobs, release.hub.key)
    path = work / "hub" / "releases" / name_of(release) / "proof.cbor"
    path.write_bytes(encode([stray.encode()]))
    done = run("verify", name_of(release), "--dir", work, *keys)
    assert done.exit_code == 1
    assert "of round ?[2J" in done.output
    assert "\x1b" not in done.output


def test_wrong_usage_ends_with_2_and_says_what_there_is(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad.pem"
    bad.write_text("no key")
    name = next((work / "hub" / "releases").iterdir()).name
    assert run("list").exit_code == 2
    assert run("list", "--dir", tmp_path / "absent").exit_code == 2
    assert run("verify", "nothing", "--dir", work).exit_code == 2
    assert run("verify", name, "--dir", work, "--hub-key", bad).exit_code == 2
    assert run("verify", name, "--dir", work, "--identities", bad).exit_code == 2
    missing = run("show", "nothing", "--dir", work)
    assert missing.exit_code == 2
    assert "(demo)" in missing.output


def bundled(release: Released, folder: Path) -> tuple[Released, Path]:
    """A bundle's folder, and the release with a manifest that names it (no proof fits that any more)."""
    folder.mkdir()
    members = []
    for name in ("m0", "frozen"):
        weights = f"weights of {name}".encode()
        (folder / f"{name}.safetensors").write_bytes(weights)
        digest = f"sha256:{hashlib.sha256(weights).hexdigest()}"
        members.append({"name": name, "file": f"{name}.safetensors", "digest": digest})
    (folder / "manifest.json").write_bytes(rfc8785.dumps({"members": members}))
    document = json.loads(release.manifest)
    plain = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    document["bundle"] = {"digest": hashlib.sha256(b"sealed").hexdigest(), "plain": f"sha256:{plain}"}
    return replace(release, manifest=rfc8785.dumps(document)), folder


def test_a_whole_bundle_has_no_problem_and_each_alteration_has_one(tmp_path: Path, release: Released) -> None:
    altered, made = bundled(release, tmp_path / "made")
    stored = ReleaseStore(tmp_path / "releases").put(
        altered.manifest,
        altered.computation,
        altered.proof,
        files={"bundle": made, "bundle.sealed": b"sealed"},
    )
    bundle, manifest = stored.folder / "bundle", stored.manifest
    assert check_bundle(stored.folder, manifest) == []

    def one(named: str) -> None:
        (problem,) = check_bundle(stored.folder, manifest)
        assert problem.finding == "BundleMismatch"
        assert named in problem.detail

    (bundle / "stray").write_bytes(b"")
    one("stray")
    (bundle / "stray").unlink()
    (bundle / "m0.safetensors").write_bytes(b"other weights")
    one("m0.safetensors")
    (bundle / "m0.safetensors").unlink()
    one("missing")
    (bundle / "m0.safetensors").write_bytes(b"weights of m0")
    (stored.folder / "bundle.sealed").write_bytes(b"other")
    one("bundle.sealed")
    (stored.folder / "bundle.sealed").unlink()
    (bundle / "manifest.json").write_bytes(b"{}")
    one("not the bundle")


def test_verify_with_bundle_fails_where_there_is_none(
    work: Path, keys: list[str | Path], release: Released
) -> None:
    done = run("verify", name_of(release), "--dir", work, *keys, "--bundle")
    assert done.exit_code == 1
    assert "BundleMismatch" in done.output
    assert "fetch the bundle" in done.output
