"""A federation after its first training, over small vectors: release, rotation, training on, a newcomer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from fedgestalt.cli.main import main
from fedgestalt.crypto.keys import Identity, fingerprint
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import Code, EpochEndedError, RefusedError
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.flake import Frame, label_token
from fedgestalt.lineage import ReleaseStore, verify
from fedgestalt.local.exchange import LocalExchange
from fedgestalt.local.setup import Layout
from fedgestalt.silo.config import load_site_config
from fedgestalt.silo.withdrawal import withdraw, withdrawn_photos

from .numeric_federation import SILOS, federation, load, rounds_on

pytestmark = pytest.mark.slow


NEWCOMER = "centre"


def digest_of(outcome: Any) -> str:
    return str(outcome.status["releaseDigest"])


class Killed(BaseException):
    """The hub dies here."""


def crash(*_: object) -> None:
    raise Killed


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All rounds of one federation, one after the other in one work directory."""
    folder = tmp_path_factory.mktemp("life")
    first = federation(folder, SILOS).run()
    assert first.phase == "Succeeded", first.status
    adopted = rounds_on(folder, "adopted", "Adopt", digest_of(first), [NEWCOMER, *SILOS]).run()
    trained = rounds_on(folder, "trained-on", "Train", digest_of(first), SILOS).run()
    rotated = rounds_on(folder, "rotated", "Rotate", digest_of(trained), SILOS[:3])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(EpochClient, "end", crash)
        with pytest.raises(Killed):
            rotated.run()
    rotated = rounds_on(folder, "rotated", "Rotate", digest_of(trained), SILOS[:3]).run()
    return {"folder": folder, "first": first, "rotated": rotated, "trained": trained, "adopted": adopted}


def test_hub_and_silos_keep_the_same_release_which_verifies_offline(life: dict[str, Any]) -> None:
    layout = Layout(life["folder"] / "federation")
    digest = digest_of(life["first"])
    stored = [ReleaseStore(layout.hub / "releases").get(digest)]
    stored += [ReleaseStore(layout.silo(name) / "releases").get(digest) for name in SILOS]
    proofs = {s.read("proof.cbor") for s in stored}
    assert len({s.read("manifest.json") for s in stored}) == 1
    hub_key = bytes.fromhex(load(layout.silo(SILOS[0]) / "site.json")["hubKey"])
    for proof in proofs:
        told = verify(
            stored[0].read("manifest.json"),
            stored[0].read("computation.json"),
            proof,
            hub_key=hub_key,
            identities=None,
        )
        assert set(told.signers) == set(SILOS)


def test_a_silo_keeps_its_gallery_its_keys_and_the_extractor(life: dict[str, Any]) -> None:
    layout = Layout(life["folder"] / "federation")
    folder = ReleaseStore(layout.silo("west") / "releases").get(digest_of(life["first"])).folder
    with np.load(folder / "gallery.npz", allow_pickle=False) as gallery:
        assert len(gallery["embeddings"]) == len(gallery["syndromes"]) == len(gallery["handles"]) > 0
        assert "test" not in set(gallery["syndromes"])
    assert set(load(folder / "keys.json")) == {"frame", "token", "width"}
    assert (folder / "bundle" / "manifest.json").exists()


def test_the_hub_holds_no_key_of_the_epoch(life: dict[str, Any]) -> None:
    layout = Layout(life["folder"] / "federation")
    keys = load(layout.silo("west") / "releases" / digest_of(life["first"]) / "keys.json")
    needles = [bytes.fromhex(keys["frame"]), bytes.fromhex(keys["token"])]
    needles += [keys["frame"].encode(), keys["token"].encode()]
    for path in layout.hub.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(needle in content for needle in needles), path


def test_a_rotation_keeps_the_extractor_under_new_keys_without_the_departed(life: dict[str, Any]) -> None:
    first, rotated = life["trained"].manifest, life["rotated"].manifest
    assert life["rotated"].phase == "Succeeded", life["rotated"].status
    assert rotated["members"] == first["members"]
    assert rotated["bundle"]["plain"] == first["bundle"]["plain"]
    assert rotated["bundle"]["digest"] != first["bundle"]["digest"]
    assert rotated["epoch"] != first["epoch"]
    assert rotated["epochCheck"] != first["epochCheck"]
    assert sorted(rotated["roster"]) == SILOS[:3]
    layout = Layout(life["folder"] / "federation")
    assert not (layout.silo(SILOS[3]) / "releases" / digest_of(life["rotated"])).exists()


def test_training_on_continues_under_a_new_epoch(life: dict[str, Any]) -> None:
    first, trained = life["first"].manifest, life["trained"].manifest
    assert life["trained"].phase == "Succeeded", life["trained"].status
    assert trained["parents"] == [digest_of(life["first"])]
    assert trained["epoch"] != first["epoch"]
    assert Path(life["folder"] / "federation" / "hub" / "releases" / digest_of(life["trained"])).is_dir()


def test_a_newcomer_gets_the_extractor_and_the_epoch_without_training(life: dict[str, Any]) -> None:
    first, adopted = life["first"].manifest, life["adopted"].manifest
    assert life["adopted"].phase == "Succeeded", life["adopted"].status
    assert adopted["epoch"] == first["epoch"]
    assert adopted["bundle"] == first["bundle"]
    assert sorted(adopted["roster"]) == sorted([NEWCOMER, *SILOS])
    assert adopted["rows"]["west"] == first["rows"]["west"]
    layout = Layout(life["folder"] / "federation")
    keys = [
        load(layout.silo(name) / "releases" / digest_of(life["adopted"]) / "keys.json")
        for name in (NEWCOMER, "west")
    ]
    assert keys[0] == keys[1]


def test_newcomers_adopt_the_latest_release_of_an_epoch(life: dict[str, Any]) -> None:
    """Otherwise those who adopted before would not be asked, and would fall out of the epoch."""
    outcome = rounds_on(life["folder"], "behind", "Adopt", digest_of(life["first"]), ["lab", *SILOS]).run()
    condition = next(c for c in outcome.status["conditions"] if c["type"] == "Succeeded")
    assert condition["reason"] == "BaseMismatch"
    assert digest_of(life["adopted"])[:12] in condition["message"]


def test_only_the_newcomers_blocks_of_the_kernel_are_computed(life: dict[str, Any]) -> None:
    layout = Layout(life["folder"] / "federation")
    results = {path.parent.name: load(path) for path in layout.jobs.glob("*kernel*/result.json")}
    uid = life["adopted"].uid[:8]
    adopted = next(found for name, found in results.items() if uid in name)
    assert adopted["blocks"] == len(SILOS) + 1, "the newcomer's tests against each gallery"
    first = next(found for name, found in results.items() if life["first"].uid[:8] in name)
    assert first["blocks"] == len(SILOS) ** 2


def test_one_site_whose_grant_names_no_newcomer_keeps_it_out(life: dict[str, Any]) -> None:
    folder = life["folder"]
    layout = Layout(folder / "federation")
    grant = layout.silo("south") / "grant.yaml"
    document = yaml.safe_load(grant.read_text())
    known = (NEWCOMER, *SILOS)
    members = [Identity.load(layout.silo(name) / "identity.pem").public for name in known]
    document["metadata"]["name"] = "stewards-own"
    document["spec"]["operations"] = ["Adopt"]
    document["spec"]["peers"] = [fingerprint(identity).hex() for identity in members]
    before = grant.read_text()
    grant.write_text(yaml.safe_dump(document))
    try:
        silos = [NEWCOMER, "lab", *SILOS]
        outcome = rounds_on(folder, "refused", "Adopt", digest_of(life["adopted"]), silos).run()
    finally:
        grant.write_text(before)
    assert outcome.phase == "Failed"
    condition = next(c for c in outcome.status["conditions"] if c["type"] == "Succeeded")
    assert condition["reason"] == "PeerRefused"
    assert "south" in condition["message"]


def test_a_newcomer_looks_back_to_the_first_release(life: dict[str, Any]) -> None:
    """Rotated from one that was trained on from the first one: three to verify, of rounds that it was not in."""
    silos = ["lab", *SILOS[:3]]
    joined = rounds_on(life["folder"], "joined", "Adopt", digest_of(life["rotated"]), silos).run()
    assert joined.phase == "Succeeded", joined.status
    layout = Layout(life["folder"] / "federation")
    base = f"work/{joined.uid[:8]}/base/*/proof.cbor"
    fetched = {path.parent.name for path in layout.silo("lab").glob(base)}
    assert fetched == {digest_of(life["trained"]), digest_of(life["first"])}


@pytest.fixture(scope="module")
def up(life: dict[str, Any]) -> Iterator[Layout]:
    """The exchange after the rounds: hospitals ask, cases are withdrawn."""
    layout = Layout(life["folder"] / "federation")
    exchange = LocalExchange(layout)
    exchange.register()
    child = exchange.start()
    yield layout
    child.stop()


def asked(layout: Layout, silo: str, release: str, photo: int) -> tuple[list[str], str]:
    """The CURIEs that the federation ranks for one of the silo's gallery photos, and that photo's syndrome."""
    site = load_site_config(layout.silo(silo) / "site.json")
    folder = site.releases / release
    keys, vocabulary = load(folder / "keys.json"), load(folder / "vocabulary.json")
    with np.load(folder / "gallery.npz", allow_pickle=False) as gallery:
        embedding, syndrome = gallery["embeddings"][photo], str(gallery["syndromes"][photo])
    row = embedding @ Frame.derive(bytes.fromhex(keys["frame"]), len(embedding), keys["width"]).matrix()
    token = bytes.fromhex(keys["token"])
    names = {label_token(token, curie): curie for curie in [*vocabulary["trained"], *vocabulary["rare"]]}
    credential = KeyCredential(Identity.load(site.identity_file), Role.SILO, silo, site.hub_key)
    with EpochClient(site.exchange_url, site.ca_file, credential) as client:
        answer = client.query(load(folder / "release.json")["epoch"], row / np.linalg.norm(row))
    return [names[match.token] for match in answer.matches], syndrome


def test_the_newcomer_finds_the_others_cases_and_they_find_its(life: dict[str, Any], up: Layout) -> None:
    release = digest_of(life["adopted"])
    hits = 0
    for silo in (NEWCOMER, "north"):
        for photo in range(5):
            ranked, syndrome = asked(up, silo, release, photo)
            hits += syndrome in ranked[:2]
    assert hits >= 7, "numeric embeddings lie near their syndrome's centre"


def test_a_rotated_epoch_ends_even_if_the_hub_dies_in_between_and_names_its_successor(
    life: dict[str, Any], up: Layout
) -> None:
    """The hub was killed after the rotated release was there and before the old epoch had ended; see `life`."""
    for silo in SILOS[2:]:  # one that rotated, and one that has departed
        with pytest.raises(EpochEndedError) as caught:
            asked(up, silo, digest_of(life["trained"]), 0)
        assert caught.value.successor == digest_of(life["rotated"])
    with sqlite3.connect(next(up.hub.rglob("epochs.sqlite"))) as db:
        owners = "SELECT DISTINCT owner FROM cases WHERE epoch = ?"
        assert db.execute(owners, (life["trained"].manifest["epoch"],)).fetchall() == []
        rotated = {owner for (owner,) in db.execute(owners, (life["rotated"].manifest["epoch"],))}
    db.close()
    assert rotated - {"lab"} == set(SILOS[:3]), "lab may have joined since"
    shown = CliRunner().invoke(main, ["release", "show", "trained-on", "--dir", str(up.root)])
    assert f"EpochEnded: release {digest_of(life['rotated'])[:12]} (rotated)" in shown.output


def test_a_departed_silo_has_no_epoch_left(life: dict[str, Any], up: Layout) -> None:
    site = load_site_config(up.silo(SILOS[3]) / "site.json")
    credential = KeyCredential(Identity.load(site.identity_file), Role.SILO, SILOS[3], site.hub_key)
    with EpochClient(site.exchange_url, site.ca_file, credential) as client:  # noqa: SIM117 - one call may fail
        with pytest.raises(RefusedError, check=lambda error: error.code is Code.NOT_IN_EPOCH):
            client.status(life["rotated"].manifest["epoch"])


def test_a_withdrawn_case_leaves_every_gallery_at_once(life: dict[str, Any], up: Layout) -> None:
    site = load_site_config(up.silo("north") / "site.json")
    release = site.releases / digest_of(life["adopted"])
    with np.load(release / "gallery.npz", allow_pickle=False) as gallery:
        photo, patient = str(gallery["photos"][0]), str(gallery["patients"][0])
        before = len(gallery["photos"])
    done = withdraw(site, patient)
    assert photo in done.photos
    assert done.rows > 0
    assert done.releases
    assert photo in withdrawn_photos(site)
    with np.load(release / "gallery.npz", allow_pickle=False) as gallery:
        assert photo not in set(gallery["photos"])
        assert len(gallery["photos"]) < before
    assert load(release / "epoch.json")["rotationDue"]
    assert withdraw(site, patient).rows == 0, "repeating is harmless"
