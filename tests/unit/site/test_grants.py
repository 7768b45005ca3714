"""The check of a frozen computation against grants: every mismatch a reason of its own, and nothing said beyond it."""

from dataclasses import replace
from typing import Any

import pytest

from fedgestalt.crypto.keys import fingerprint
from fedgestalt_operator.api.grant import Bounds, ParticipationGrant, parse_grant
from fedgestalt_operator.api.reasons import GrantReason
from fedgestalt_operator.kube.validate import validate
from fedgestalt_operator.plan.grants import choose, ended, mismatches

HUB, NORTH, SOUTH, EAST = (bytes([i]) * 32 for i in range(4))
NOW = 1_800_000_000.0
IMAGE = {"variant": "train", "digest": f"sha256:{'1' * 64}"}
OTHER = {"variant": "train", "digest": f"sha256:{'2' * 64}"}
SIGNER = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"


def grant(name: str = "secret-name", **changes: Any) -> ParticipationGrant:
    spec = {
        "hub": fingerprint(HUB).hex(),
        "operations": ["Train"],
        "purposes": ["DUO:0000006"],
        "dataset": "faces",
        "peers": [fingerprint(SOUTH).hex(), fingerprint(EAST).hex()],
        "minSilos": 3,
        "notAfter": "2027-09-30T00:00:00Z",
        **changes,
    }
    document = {"apiVersion": "fedgestalt.org/v1alpha1", "kind": "ParticipationGrant", "spec": spec}
    return parse_grant(validate({**document, "metadata": {"name": name}}))


def computation(silos: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    member = {"name": "m", "trainable": True, "maxSteps": 9}
    training = {"members": [member], "communicationRounds": 5, "localEpochs": 2}
    asked = {"operation": "Train", "purpose": "DUO:0000006", "dataset": "faces", "quorum": {"minSilos": 3}}
    invited = silos or {"north": NORTH.hex(), "south": SOUTH.hex(), "east": EAST.hex()}
    return {"spec": {**asked, "training": training, **changes}, "silos": invited}


def found(
    one: ParticipationGrant, asked: dict[str, Any], *, used: int = 0, now: float = NOW, hub: bytes = HUB
):
    return mismatches(one, asked, hub_fingerprint=fingerprint(hub).hex(), silo="north", used=used, now=now)


def reasons(*args: Any, **kwargs: Any) -> list[GrantReason]:
    return [m.reason for m in found(*args, **kwargs)]


def training(**changes: Any) -> dict[str, Any]:
    return {"training": {**computation()["spec"]["training"], **changes}}


def test_a_fitting_round_has_no_mismatch() -> None:
    bounds = {"members": 1, "communicationRounds": 5, "localEpochs": 2, "maxSteps": 9, "activeSeconds": 60}
    assert (
        found(grant(bounds=bounds, uses=1, images=[IMAGE]), computation(software={"images": [IMAGE]})) == ()
    )


@pytest.mark.parametrize(
    ("changes", "asked", "reason"),
    [
        ({"revoked": True}, {}, GrantReason.REVOKED),
        ({"notAfter": "2020-01-01T00:00:00+00:00"}, {}, GrantReason.EXPIRED),
        ({"hub": fingerprint(EAST).hex()}, {}, GrantReason.HUB),
        ({"operations": ["Adopt"]}, {}, GrantReason.OPERATION),
        ({}, {"purpose": "DUO:0000042"}, GrantReason.PURPOSE),
        ({}, {"dataset": "others"}, GrantReason.DATASET),
        ({}, {"quorum": {"minSilos": 2}}, GrantReason.QUORUM),
        ({"peers": [fingerprint(SOUTH).hex(), fingerprint(HUB).hex()]}, {}, GrantReason.PEER),
        ({"bounds": {"communicationRounds": 4}}, {}, GrantReason.BOUND),
        ({"bounds": {"localEpochs": 1}}, {}, GrantReason.BOUND),
        ({"bounds": {"maxSteps": 8}}, {}, GrantReason.BOUND),
        ({"bounds": {"members": 1}}, training(members=[{"maxSteps": 1}] * 2), GrantReason.BOUND),
        ({"bounds": {"activeSeconds": 60}}, {"deadlines": {"active": 61}}, GrantReason.BOUND),
        ({"images": [IMAGE]}, {"software": {"images": [IMAGE, OTHER]}}, GrantReason.IMAGE),
        ({"images": [IMAGE]}, {}, GrantReason.IMAGE),
        ({"imageSigner": SIGNER}, {"software": {"images": [IMAGE]}}, GrantReason.SIGNER_UNCHECKED),
    ],
)
def test_each_mismatch_is_a_reason_of_its_own(
    changes: dict[str, Any], asked: dict[str, Any], reason: GrantReason
) -> None:
    assert reasons(grant(**changes), computation(**asked)) == [reason]


def test_uses_are_spent_when_as_many_enrolments_were_counted() -> None:
    assert reasons(grant(uses=2), computation(), used=1) == []
    assert reasons(grant(uses=2), computation(), used=2) == [GrantReason.USES_SPENT]


def test_every_reason_but_that_there_is_no_grant_can_be_a_mismatch() -> None:
    all_wrong = {
        "revoked": True, "hub": fingerprint(EAST).hex(), "operations": ["Adopt"], "dataset": "x",
        "minSilos": 3, "bounds": {"maxSteps": 1}, "images": [OTHER],
    }  # fmt: skip
    asked = computation(
        {"north": NORTH.hex(), "west": "ab" * 32}, purpose="DUO:1", quorum={}, software={"images": [IMAGE]}
    )
    said = set(reasons(grant(**all_wrong), asked)) | {GrantReason.EXPIRED, GrantReason.USES_SPENT}
    assert said == set(GrantReason) - {GrantReason.NO_GRANT, GrantReason.SIGNER_UNCHECKED}


def test_what_a_round_leaves_open_does_not_fit_a_bound() -> None:
    one = grant(bounds={"maxSteps": 8, "localEpochs": 1})
    asked = training(members=[{"name": "m"}], localEpochs=None)
    assert reasons(one, computation(**asked)) == [GrantReason.BOUND] * 2


def test_bounds_of_training_do_not_hold_for_rounds_that_do_not_train() -> None:
    one = grant(operations=["Adopt"], bounds={"communicationRounds": 1, "maxSteps": 1})
    assert reasons(one, computation(operation="Adopt")) == []


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"spec": None},
        {"spec": {"training": 3, "software": []}, "silos": {"south": 7}},
        {"spec": {"dataset": []}},
    ],
)
def test_a_malformed_computation_does_not_fit_and_does_not_raise(asked: dict[str, Any]) -> None:
    assert GrantReason.OPERATION in reasons(grant(bounds={"maxSteps": 1}, images=[IMAGE]), asked)


def test_five_minutes_of_clock_difference_are_tolerated() -> None:
    one = grant()
    assert reasons(one, computation(), now=one.not_after + 299) == []
    assert reasons(one, computation(), now=one.not_after + 301) == [GrantReason.EXPIRED]


def test_answers_name_neither_the_grant_nor_what_else_it_allows() -> None:
    one = grant(purposes=["DUO:0000018"], dataset="ward-7", images=[OTHER], operations=["Rotate"])
    asked = computation({"north": NORTH.hex(), "west": "ab" * 32}, software={"images": [IMAGE]})
    said = "; ".join(map(str, found(one, asked, hub=EAST)))
    hidden = ["secret-name", "ward-7", "DUO:0000018", "Rotate", OTHER["digest"], *one.peers, one.hub]
    assert not [word for word in hidden if word in said]


def choice(*grants: ParticipationGrant, used: int = 0):
    return choose(
        grants,
        computation(),
        hub_fingerprint=fingerprint(HUB).hex(),
        silo="north",
        used=lambda _: used,
        now=NOW,
    )


def test_the_first_grant_by_name_that_fits_is_taken() -> None:
    chosen = choice(grant("c"), grant("a", dataset="x"), grant("b")).grant
    assert chosen is not None
    assert chosen.metadata.name == "b"


def test_the_closest_grant_says_what_is_missing() -> None:
    far, near = grant("a", dataset="x", operations=["Adopt"]), grant("b", uses=1)
    assert [m.reason for m in choice(far, near, used=1).mismatches] == [GrantReason.USES_SPENT]


def test_a_site_without_grants_says_so() -> None:
    assert [m.reason for m in choice().mismatches] == [GrantReason.NO_GRANT]


def test_a_run_is_ended_by_revocation_deletion_and_time_alone() -> None:
    one = replace(grant(), bounds=Bounds(active_seconds=60), uses=1, not_after=0.0)
    assert ended(one, active=60.0) is None
    assert [m.reason for m in (ended(one, active=61.0), ended(None, active=0.0)) if m] == [
        GrantReason.BOUND,
        GrantReason.REVOKED,
    ]
    stopped = ended(replace(one, revoked=True), active=0.0)
    assert stopped is not None
    assert stopped.reason is GrantReason.REVOKED
