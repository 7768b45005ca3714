"""Releases, grants and endpoints: read into their models, with closed reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedgestalt.crypto.keys import fingerprint
from fedgestalt.local.setup import Layout, make_site
from fedgestalt_operator.api import conditions, reasons
from fedgestalt_operator.api.conditions import Condition, EndpointCondition, Truth, documents
from fedgestalt_operator.api.endpoint import Gates, Promotion, parse_endpoint
from fedgestalt_operator.api.grant import Bounds, parse_grant
from fedgestalt_operator.api.reasons import CandidateReason, ReadyReason, UsableReason
from fedgestalt_operator.api.release import parse_release, release_document
from fedgestalt_operator.api.round import Operation
from fedgestalt_operator.kube.crds import crd_folder, schema_of
from fedgestalt_operator.kube.validate import validate, validate_file

VALID = crd_folder() / "examples" / "valid"
BEFORE = 1_800_000_000.0


def example(name: str) -> dict[str, Any]:
    return validate_file(VALID / f"{name}.yaml")[0]


@pytest.mark.parametrize("name", ["release-train", "release-adopt"])
def test_release_survives_a_round_trip(name):
    release = parse_release(example(name))
    assert parse_release(validate(release_document(release))) == release


def test_release_without_an_evaluation_says_so():
    assert parse_release(example("release-adopt")).evaluation is None
    evaluation = parse_release(example("release-train")).evaluation
    assert evaluation is not None
    assert next((s.setting, s.top5, s.top30) for s in evaluation.settings) == (
        "frequent_frequent",
        "61.2 % (57.9-64.4)",
        "",
    )


def test_grant_is_read_into_its_model():
    grant = parse_grant(example("grant-bounded"))
    assert grant.operations == set(Operation)
    assert grant.bounds == Bounds(3, 20, 5, 1000, 1_209_600)
    assert (grant.min_silos, grant.uses, grant.revoked, len(grant.images)) == (3, 3, False, 3)


def test_grant_that_says_the_least_bounds_nothing_else():
    grant = parse_grant(example("grant-minimal"))
    assert (grant.bounds, grant.uses, grant.images, grant.image_signer) == (
        Bounds(),
        None,
        frozenset(),
        None,
    )


def test_grant_ends_by_revocation_time_or_uses():
    grant = parse_grant(example("grant-bounded"))
    assert grant.usable(used=2, now=BEFORE) is UsableReason.GRANTED
    assert grant.usable(used=3, now=BEFORE) is UsableReason.USES_SPENT
    assert grant.usable(used=0, now=grant.not_after + 299) is UsableReason.GRANTED
    assert grant.usable(used=0, now=grant.not_after + 301) is UsableReason.EXPIRED
    assert replace(grant, revoked=True).usable(used=0, now=BEFORE) is UsableReason.REVOKED
    assert replace(grant, uses=None).usable(used=10_000, now=BEFORE) is UsableReason.GRANTED


def test_grant_that_the_local_runner_writes_is_valid(tmp_path):
    identities = {name: bytes([i]) * 32 for i, name in enumerate(["east", "north", "west"])}
    make_site(
        Layout(tmp_path),
        "west",
        cohort=tmp_path,
        dataset="rare-faces",
        hub_key=bytes(32),
        identities=identities,
        exchange_url="https://localhost",
        ca_file=tmp_path / "ca.pem",
        min_silos=3,
        operation="Train",
        purpose="DUO:0000006",
        seed=1,
    )
    grant = parse_grant(validate_file(Layout(tmp_path).silo("west") / "grant.yaml")[0])
    assert grant.peers == {fingerprint(identities[peer]).hex() for peer in ("east", "north")}


def test_endpoint_is_promoted_by_a_person_unless_it_says_otherwise():
    endpoint = parse_endpoint(example("endpoint-minimal"))
    assert (endpoint.promotion, endpoint.gates, endpoint.keep_previous) == (Promotion.MANUAL, None, 1)
    endpoint = parse_endpoint(example("endpoint-automatic"))
    assert (endpoint.promotion, endpoint.gates) == (Promotion.AUTOMATIC, Gates(0.5, 0.02, 100))


@pytest.mark.parametrize(
    ("top5", "served", "photos", "refusal"),
    [
        (0.60, 0.61, 100, None),
        (0.50, 0.00, 100, None),
        (0.49, 0.00, 100, CandidateReason.TOP5_TOO_LOW),
        (0.60, 0.63, 100, CandidateReason.DROP_TOO_LARGE),
        (0.99, 0.10, 99, CandidateReason.TOO_FEW_PHOTOS),
        (float("nan"), 0.10, 100, CandidateReason.TOP5_TOO_LOW),
        (0.60, float("nan"), 100, CandidateReason.DROP_TOO_LARGE),
    ],
)
def test_gates_let_through_what_reaches_them_and_nothing_else(top5, served, photos, refusal):
    assert Gates(0.5, 0.02, 100).refusal(top5=top5, served=served, photos=photos) is refusal


@pytest.mark.parametrize(
    ("kind", "types", "of_conditions"),
    [
        (
            "Release",
            conditions.ReleaseCondition,
            [reasons.PublishedReason, reasons.RotationReason, reasons.VerifiedReason],
        ),
        ("ParticipationGrant", conditions.GrantCondition, [reasons.UsableReason]),
        (
            "InferenceEndpoint",
            conditions.EndpointCondition,
            [reasons.VerifiedReason, reasons.LoadedReason, reasons.ReadyReason],
        ),
    ],
)
def test_schema_and_code_know_the_same_conditions_and_reasons(kind, types, of_conditions):
    item = schema_of(kind)["properties"]["status"]["properties"]["conditions"]["items"]["properties"]
    assert set(item["type"]["enum"]) == {t.value for t in types}
    assert set(item["reason"]["enum"]) == {r.value for enum in of_conditions for r in enum}


def test_schema_and_code_know_the_same_causes_and_refusals():
    release = schema_of("Release")["properties"]["status"]["properties"]
    causes = release["rotationDue"]["items"]["properties"]["cause"]["enum"]
    assert set(causes) < {r.value for r in reasons.RotationReason}
    endpoint = schema_of("InferenceEndpoint")["properties"]["status"]["properties"]
    refusals = endpoint["candidate"]["properties"]["reason"]["enum"]
    assert set(refusals) == {r.value for r in CandidateReason}


def test_conditions_of_an_endpoint_fit_its_schema():
    document = example("endpoint-starting")
    not_ready = Condition(EndpointCondition.READY, Truth.FALSE, ReadyReason.NOT_LOADED, "loading", BEFORE, 1)
    document["status"] = {"conditions": documents([not_ready])}
    assert validate(document)["status"]["conditions"][0]["reason"] == "NotLoaded"
