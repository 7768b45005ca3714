"""What a Release's status says of its gallery and its epoch."""

from __future__ import annotations

from typing import Any

from fedgestalt_operator.api.conditions import timestamp
from fedgestalt_operator.api.meta import Metadata
from fedgestalt_operator.api.release import Release
from fedgestalt_operator.api.round import Operation
from fedgestalt_operator.plan.release_status import Due, EpochState, Seen, release_status

NOW = 1_790_000_000.0
SHA = "sha256:" + "0" * 64
GIVEN = Release(
    metadata=Metadata("gm-0123456789ab", "uid", generation=1),
    digest=SHA,
    round="gm",
    round_uid="5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f",
    operation=Operation.TRAIN,
    epoch="ab" * 32,
    parents=(),
    silos=("east", "north", "south", "west"),
    signers=("east", "north", "south"),
    bundle=SHA,
    bundle_plain=SHA,
    evaluation=None,
    dataset="synthetic",
    synthetic=True,
)
SERVED = Seen(True, True, EpochState(40, 3))


def status(seen: Seen, *, now: float = NOW, old: dict[str, Any] | None = None) -> dict[str, Any]:
    return release_status(GIVEN, seen, now=now, old=old or {})


def conditions(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in document["conditions"]}


def test_a_release_whose_gallery_is_served_is_published() -> None:
    document = status(SERVED)
    assert conditions(document) == {"Published": ("True", "Served"), "RotationDue": ("False", "NotDue")}
    assert document["counts"] == {"gallery": 40, "undiagnosed": 3}
    assert document["summary"] == {"signed": "3/4"}
    assert "rotationDue" not in document


def test_a_withdrawal_makes_the_rotation_due_and_names_who_and_since_when() -> None:
    due = (Due("Departure", "west", NOW - 5), Due("Withdrawal", "north", NOW - 60))
    document = status(Seen(True, True, EpochState(39, 3, due)))
    assert conditions(document)["RotationDue"] == ("True", "Withdrawal")
    assert [d["silo"] for d in document["rotationDue"]] == ["north", "west"]
    found = next(c for c in document["conditions"] if c["type"] == "RotationDue")
    assert found["lastTransitionTime"] == timestamp(NOW - 60)
    assert "operation Rotate" in found["message"]


def test_what_is_gone_is_said_apart_from_what_cannot_be_reached() -> None:
    assert conditions(status(Seen(True, True, None)))["Published"] == ("False", "BlobMissing")
    assert conditions(status(Seen(True, False, EpochState(1, 0))))["Published"] == ("False", "BlobMissing")
    away = conditions(status(Seen(False)))
    assert away == {
        "Published": ("Unknown", "ExchangeUnreachable"),
        "RotationDue": ("Unknown", "ExchangeUnreachable"),
    }


def test_a_rotated_release_names_what_took_its_place() -> None:
    document = status(Seen(True, True, EpochState(0, 0, successor="cd" * 32)))
    assert conditions(document) == {"Published": ("False", "EpochEnded"), "RotationDue": ("False", "NotDue")}
    assert "cdcdcdcdcdcd" in document["conditions"][0]["message"]


def test_looking_again_writes_nothing_new() -> None:
    first = status(SERVED)
    assert status(SERVED, now=NOW + 600, old=first) == first
