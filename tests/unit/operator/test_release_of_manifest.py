"""A round's manifest becomes a Release that its CRD accepts."""

from __future__ import annotations

import hashlib
import json

import pytest

from fedgestalt_operator.api.release import Accuracy, Release, parse_release, release_document, release_of
from fedgestalt_operator.api.round import Operation
from fedgestalt_operator.kube.validate import InvalidDocumentError, validate
from fedgestalt_operator.plan.context import Context
from fedgestalt_operator.plan.releases import build_manifest

from ...plan.simulation import DIE_BEFORE, POST, World, make_round
from ...plan.test_operations import BASE
from ...plan.test_operations import world as world_on_base

MEASURED = (Accuracy("frequent_frequent", top5="61.2 % (57.9-64.4)"), Accuracy("rare_all", top30="50.0 %"))


def released(world: World) -> Release:
    """Runs a round to its end and makes its Release."""
    assert world.run()["phase"] == "Succeeded"
    blob = build_manifest(Context(world.round, world.observed, world.now))
    decision = world.decisions("released")[0].body
    assert hashlib.sha256(blob).digest() == decision["digest"]
    manifest = json.loads(blob)
    return release_of(
        manifest,
        digest=decision["digest"].hex(),
        signers=decision["signers"],
        dataset="synthdysm",
        synthetic=True,
        evaluation=MEASURED if manifest["evaluation"] else (),
        namespace="fedgestalt",
    )


def test_train_round_makes_a_valid_release():
    release = released(World(make_round(members=2)))
    assert parse_release(validate(release_document(release))) == release
    assert (release.operation, release.parents) == (Operation.TRAIN, ())
    assert release.signers == release.silos == ("silo-00", "silo-01", "silo-02", "silo-03")
    assert release.metadata.name == f"demo-{release.digest.removeprefix('sha256:')[:12]}"
    assert release.evaluation is not None
    assert release.evaluation.settings == MEASURED


def test_release_of_a_silo_short_round_has_fewer_signers():
    def silent(silo, kind, member, t, a):
        return DIE_BEFORE if kind == "sign" and silo.name == "silo-02" else POST

    release = released(World(make_round(), hook=silent))
    assert parse_release(validate(release_document(release))) == release
    assert release.signers == ("silo-00", "silo-01", "silo-03")


@pytest.mark.parametrize("operation", [Operation.ADOPT, Operation.ROTATE])
def test_release_on_a_base_names_it_as_its_parent(operation):
    release = released(world_on_base(operation, 5 if operation is Operation.ADOPT else 4, 4))
    assert parse_release(validate(release_document(release))) == release
    assert release.parents == (f"sha256:{BASE}",)


def test_two_rounds_of_one_name_make_two_releases_and_both_names_fit_a_label():
    manifest = {
        "name": "a" * 49 + "-b" * 7,
        "round": "5f0c2d7e-1b1a",
        "operation": "Train",
        "epoch": "e" * 64,
        "parents": [],
        "roster": {"east": {}, "north": {}, "west": {}},
        "bundle": {"digest": "1" * 64, "plain": "sha256:" + "2" * 64},
    }

    def make(digest: str) -> Release:
        return release_of(manifest, digest=digest, signers=manifest["roster"], dataset="d", synthetic=False)

    first, second = make("3" * 64), make("4" * 64)
    assert first.metadata.name == "a" * 49 + "-" + "3" * 12
    assert first.metadata.name != second.metadata.name
    assert make("sha256:" + "3" * 64) == first
    validate(release_document(first))


def test_manifest_that_cannot_be_told_is_refused():
    world = World(make_round())
    world.run()
    manifest = json.loads(build_manifest(Context(world.round, world.observed, world.now)))
    asked = {"digest": "1" * 64, "signers": world.round.silos, "dataset": "d", "synthetic": True}
    with pytest.raises(ValueError, match="exactly if the manifest names a table"):
        release_of(manifest, **asked)
    with pytest.raises(ValueError, match="names no bundle"):
        release_of({**manifest, "bundle": None}, **asked, evaluation=MEASURED)
    foreign = release_of(manifest, **{**asked, "signers": ("x", "y", "z")}, evaluation=MEASURED)
    with pytest.raises(InvalidDocumentError, match="only silos of the round sign"):
        validate(release_document(foreign))
