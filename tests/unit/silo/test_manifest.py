"""What a silo compares before it signs a release: each thing that it knows, and that is said otherwise, is named."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedgestalt.secagg.messages import Kind, Message, Slot
from fedgestalt.silo.base import Base
from fedgestalt.silo.manifest import disagreements

SILOS = ("east", "north", "west")
IDENTITIES = {name: hashlib.sha256(name.encode()).digest() for name in (*SILOS, "centre")}
EPOCH, CHECK, H = b"e" * 32, b"c" * 32, b"h" * 32
TABLE = b'{"table":1}'


def body(name: str) -> dict[str, Any]:
    named = {key: hashlib.sha256(f"{name} {key}".encode()).digest() for key in ("digest", "data")}
    same = {key: hashlib.sha256(key.encode()).digest() for key in ("bundle", "sealed", "epoch_check")}
    return {"gallery": 3, "test": 2, "undiagnosed": 1, **named, **same}


def board(names: tuple[str, ...], *, scored: bool = True) -> list[Message]:
    def message(kind: Kind, sender: str, content: dict[str, Any]) -> Message:
        return Message(Slot("round", 1, "", 0, 0, kind, sender), content)

    said = [message(Kind.ROWS, name, body(name)) for name in names]
    said.append(message(Kind.ROWS_CLOSED, "hub", {"silos": list(names)}))
    return said + [message(Kind.SCORE, name, {"table": TABLE}) for name in names if scored]


def session(silos: tuple[str, ...]) -> Any:
    return SimpleNamespace(
        name="east",
        enrolment_number=1,
        h=H,
        weights=dict.fromkeys(silos, 12),
        computation=SimpleNamespace(silos=IDENTITIES, digest=b"d" * 32),
    )


def rows(name: str) -> dict[str, Any]:
    said = body(name)
    return {**{k: said[k] for k in ("gallery", "test", "undiagnosed")}, "digest": said["digest"].hex()}


def trained() -> dict[str, Any]:
    return {
        "round": "round",
        "name": "first",
        "operation": "Train",
        "computation": (b"d" * 32).hex(),
        "parents": [],
        "enrolment": 1,
        "h": H.hex(),
        "epoch": EPOCH.hex(),
        "epochCheck": CHECK.hex(),
        "bundle": {"digest": body("")["sealed"].hex(), "plain": f"sha256:{body('')['bundle'].hex()}"},
        "software": None,
        "roster": {
            n: {"weight": 12, "identity": IDENTITIES[n].hex(), "data": body(n)["data"].hex()} for n in SILOS
        },
        "rows": {name: rows(name) for name in SILOS},
        "members": [{"name": "r50", "trainable": True, "model": "aa", "rounds": []}],
        "evaluation": {"digest": hashlib.sha256(TABLE).hexdigest()},
    }


def wrong(manifest: dict[str, Any]) -> list[str]:
    return disagreements(
        manifest,
        computation={"round": "round", "name": "first", "spec": {"operation": "Train"}},
        session=session(SILOS),
        epoch=EPOCH,
        epoch_check=CHECK,
        trained={"r50": "aa"},
        base=None,
        messages=board(SILOS),
    )


def test_a_manifest_that_says_what_the_silo_knows_can_be_signed() -> None:
    assert wrong(trained()) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("round",), "another"),
        (("operation",), "Rotate"),
        (("computation",), "00"),
        (("parents",), ["ab"]),
        (("enrolment",), 2),
        (("h",), "00"),
        (("epoch",), "00"),
        (("epochCheck",), "00"),
        (("bundle", "digest"), "00"),
        (("bundle", "plain"), "sha256:00"),
        (("software",), {"version": "9"}),
        (("roster", "west", "weight"), 16),
        (("roster", "west", "identity"), "00"),
        (("rows", "north", "gallery"), 4),
        (("rows", "north", "digest"), "00"),
        (("evaluation", "digest"), "00"),
    ],
)
def test_whatever_is_said_otherwise_is_named(path: tuple[str, ...], value: Any) -> None:
    manifest = trained()
    place: Any = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert wrong(manifest) == [path[0]]


def test_another_model_and_another_commitment_are_named() -> None:
    manifest = trained()
    manifest["members"][0]["model"] = "bb"
    manifest["roster"]["west"]["data"] = "00"
    assert wrong(manifest) == ["data", "members"]


def adopted() -> tuple[dict[str, Any], Base]:
    older = trained()
    base = Base("ab" * 32, older, Path(), member=True)
    manifest = copy.deepcopy(older) | {
        "name": "adopted",
        "operation": "Adopt",
        "parents": [base.digest],
        "evaluation": None,
    }
    manifest["roster"]["centre"] = {
        "weight": 12,
        "identity": IDENTITIES["centre"].hex(),
        "data": body("centre")["data"].hex(),
    }
    manifest["rows"]["centre"] = rows("centre")
    return manifest, base


def wrong_adoption(manifest: dict[str, Any], base: Base) -> list[str]:
    return disagreements(
        manifest,
        computation={"round": "round", "name": "adopted", "spec": {"operation": "Adopt"}},
        session=session((*SILOS, "centre")),
        epoch=EPOCH,
        epoch_check=CHECK,
        trained={},
        base=base,
        messages=board(("centre",), scored=False),
    )


def test_an_adoption_changes_nothing_of_what_was_there() -> None:
    manifest, base = adopted()
    assert wrong_adoption(manifest, base) == []
    for change in ("bundle", "rows", "members"):
        altered = copy.deepcopy(manifest)
        match change:
            case "bundle":
                altered["bundle"]["plain"] = "sha256:00"
            case "rows":
                altered["rows"]["west"]["gallery"] = 9
            case _:
                altered["members"] = []
        assert wrong_adoption(altered, base) == [change]
