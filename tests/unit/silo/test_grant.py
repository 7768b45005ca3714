from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedgestalt.crypto.keys import fingerprint
from fedgestalt.silo.grant import Grant, GrantError, load_grant

HUB, NORTH, SOUTH, EAST = (bytes([i]) * 32 for i in range(4))
NOW = datetime.now(UTC).timestamp()


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "hub": fingerprint(HUB).hex(),
        "operations": ["Train"],
        "purposes": ["DUO:0000006"],
        "dataset": "faces",
        "peers": [fingerprint(SOUTH).hex(), fingerprint(EAST).hex()],
        "minSilos": 3,
        "notAfter": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        **changes,
    }


def grant(tmp_path: Path, **changes: Any) -> Grant:
    path = tmp_path / "grant.yaml"
    path.write_text(yaml.safe_dump({"kind": "ParticipationGrant", "spec": spec(**changes)}))
    return load_grant(path)


def computation(**changes: Any) -> dict[str, Any]:
    asked = {"operation": "Train", "purpose": "DUO:0000006", "dataset": "faces", "quorum": {"minSilos": 3}}
    silos = {"north": NORTH.hex(), "south": SOUTH.hex(), "east": EAST.hex()}
    return {"spec": {**asked, **changes}, "silos": silos}


def mismatches(grant: Grant, asked: dict[str, Any], hub: bytes = HUB, now: float = NOW) -> list[str]:
    return grant.mismatches(asked, hub_key=hub, silo="north", now=now)


def test_a_fitting_round_has_no_mismatch(tmp_path: Path) -> None:
    assert mismatches(grant(tmp_path), computation()) == []


@pytest.mark.parametrize(
    ("changes", "asked", "reason"),
    [
        ({"revoked": True}, {}, "GrantRevoked"),
        ({"notAfter": "2020-01-01T00:00:00+00:00"}, {}, "GrantExpired"),
        ({"hub": fingerprint(EAST).hex()}, {}, "HubNotGranted"),
        ({"operations": ["Adopt"]}, {}, "OperationNotGranted"),
        ({}, {"purpose": "DUO:0000042"}, "PurposeNotGranted"),
        ({}, {"dataset": "others"}, "DatasetNotGranted"),
        ({"minSilos": 4}, {}, "QuorumTooSmall"),
        ({"peers": [fingerprint(SOUTH).hex()]}, {}, "PeerNotGranted"),
        ({"bounds": {"communicationRounds": 5}}, {"training": {"communicationRounds": 6}}, "BoundExceeded"),
        ({"bounds": {"localEpochs": 2}}, {"training": {"localEpochs": 3}}, "BoundExceeded"),
        ({"bounds": {"maxSteps": 9}}, {"training": {"members": [{"maxSteps": 10}]}}, "BoundExceeded"),
        ({"bounds": {"members": 1}}, {"training": {"members": [{}, {}]}}, "BoundExceeded"),
    ],
)
def test_each_mismatch_is_a_reason_of_its_own(
    tmp_path: Path, changes: dict[str, Any], asked: dict[str, Any], reason: str
) -> None:
    found = mismatches(grant(tmp_path, **changes), computation(**asked))
    assert [text.split(":")[0] for text in found] == [reason]


def test_five_minutes_of_clock_difference_are_tolerated(tmp_path: Path) -> None:
    limit = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
    one = grant(tmp_path, notAfter=limit.isoformat())
    assert mismatches(one, computation(), now=limit.timestamp() + 299) == []
    assert mismatches(one, computation(), now=limit.timestamp() + 301) != []


def test_a_missing_grant_says_that_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(GrantError, match="nothing runs at this site"):
        load_grant(tmp_path / "absent.yaml")


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "grant.yaml"
    content = spec()
    del content["peers"]
    path.write_text(yaml.safe_dump({"spec": content}))
    with pytest.raises(GrantError, match=r"grant\.yaml: field 'peers'"):
        load_grant(path)


def test_a_condition_that_is_not_checked_makes_the_grant_useless(tmp_path: Path) -> None:
    path = tmp_path / "grant.yaml"
    path.write_text(yaml.safe_dump({"spec": {**spec(), "uses": 3, "bounds": {"activeSeconds": 9}}}))
    with pytest.raises(
        GrantError, match=r"spec\.uses, spec\.bounds\.activeSeconds: this version does not check"
    ):
        load_grant(path)
