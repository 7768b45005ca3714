"""What `fedgestalt release` prints and with which exit code it ends."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedgestalt.cli.main import main
from fedgestalt.crypto.encoding import encode
from fedgestalt.lineage import Proof, ReleaseStore, successor_of
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
        (
            '{"rotationDue": [{"cause": "Withdrawal", "silo": "west", "since": 1.0}]}',
            "RotationDue: Withdrawal of west",
        ),
        ('{"rotationDue": [], "tombstones": 0}', "not due"),
        ('{"rotationDue": [7]}', "not known"),
        ('{"rotationDue": [{"cause": "\\u001b", "silo": "west"}]}', "not known"),
        ('{"rotationDue": "yes"}', "not known"),
        ("[]", "not known"),
        ("{", "not known"),
    ],
)
def test_show_says_whether_a_rotation_is_due(
    work: Path, release: Released, content: str, expected: str
) -> None:
    (work / "hub" / "releases" / name_of(release) / "epoch.json").write_text(content)
    assert expected in run("show", name_of(release), "--dir", work).output


def test_show_names_the_release_that_rotated_an_epoch(
    work: Path, release: Released, adopted: Released, rotated: Released
) -> None:
    store = ReleaseStore(work / "hub" / "releases")
    store.put(rotated.manifest, rotated.computation, rotated.proof)
    (store.folder / name_of(release) / "epoch.json").write_text('{"rotationDue": true}')
    for older in (release, adopted):
        done = run("show", name_of(older), "--dir", work)
        assert f"EpochEnded: release {name_of(rotated)[:12]} (" in done.output
        assert "RotationDue" not in done.output
    assert "EpochEnded" not in run("show", name_of(rotated), "--dir", work).output
    assert successor_of(store, store.get(name_of(adopted))) == name_of(rotated)
    assert successor_of(store, store.get(name_of(rotated))) is None


def test_show_of_a_departed_silo_says_what_the_hub_told_it(work: Path, release: Released) -> None:
    path = work / "hub" / "releases" / name_of(release) / "epoch.json"
    path.write_text(json.dumps({"rotationDue": [], "endedBy": "5b" * 32}))
    assert f"EpochEnded: release {'5b' * 6} took" in run("show", name_of(release), "--dir", work).output


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


def test_a_newcomer_compares_with_the_parents_manifest_that_it_kept(
    tmp_path: Path, keys: list[str | Path], release: Released, adopted: Released, rotated: Released
) -> None:
    for kept, code in ((release.manifest, 0), (rotated.manifest, 1), (None, 1)):
        site = tmp_path / f"kept-{len(list(tmp_path.iterdir()))}"
        files = {} if kept is None else {"parent.json": kept}
        ReleaseStore(site / "releases").put(adopted.manifest, adopted.computation, adopted.proof, files=files)
        assert run("verify", "demo", "--dir", site, *keys, "--strict").exit_code == code


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


def test_verify_with_bundle_fails_where_there_is_none(
    work: Path, keys: list[str | Path], release: Released
) -> None:
    done = run("verify", name_of(release), "--dir", work, *keys, "--bundle")
    assert done.exit_code == 1
    assert "BundleMismatch" in done.output
    assert "fetch the bundle" in done.output
