"""A manifest is read strictly: what is not exactly one is refused with the field's name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785

from fedgestalt.lineage import Manifest, ManifestError
from fedgestalt.lineage.manifest import MAX_BYTES

from .conftest import Released

HEX = "ab" * 32


def test_a_manifest_of_the_first_form_without_bundle_identities_and_digests_is_read(
    release: Released,
) -> None:
    document = json.loads(release.manifest)
    for optional in ("bundle", "epochCheck", "software"):
        del document[optional]
    document["roster"] = {s: {"weight": e["weight"]} for s, e in document["roster"].items()}
    for rows in document["rows"].values():
        del rows["digest"]
    manifest = Manifest.parse(rfc8785.dumps(document))
    assert manifest.bundle is None
    assert manifest.roster["silo-00"].identity is None
    assert manifest.rows["silo-00"].digest is None


def test_members_rounds_and_rows_are_read_as_they_stand(release: Released) -> None:
    manifest = Manifest.parse(release.manifest)
    document = json.loads(release.manifest)
    trained, frozen = manifest.members
    assert [r.model for r in trained.rounds] == [r["model"] for r in document["members"][0]["rounds"]]
    assert trained.model == trained.rounds[-1].model
    assert (frozen.trainable, frozen.model, frozen.rounds) == (False, None, ())
    assert manifest.bundle is not None
    assert manifest.bundle.sealed == document["bundle"]["digest"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m.update(extra=1), "extra"),
        (lambda m: m.pop("rows"), "rows"),
        (lambda m: m.update(v=2), "$.v"),
        (lambda m: m.update(h="AB" * 32), "$.h"),
        (lambda m: m.update(h=HEX + "\n"), "$.h"),
        (lambda m: m.update(name="demo\x1b[2J"), "$.name"),
        (lambda m: m.update(enrolment=0), "$.enrolment"),
        (lambda m: m.update(operation="Delete"), "$.operation"),
        (lambda m: m.update(parents=[HEX, HEX]), "$.parents"),
        (lambda m: m["roster"].update({"hub.example": {"weight": 1}}), "$.roster"),
        (lambda m: m["roster"]["silo-00"].update(weight=1.5), "weight"),
        (lambda m: m["roster"]["silo-00"].update(photo="x"), "photo"),
        (lambda m: m["rows"]["silo-00"].update(test=-1), "test"),
        (lambda m: m["bundle"].update(plain=HEX), "plain"),
        (lambda m: m["members"].append(m["members"][0]), "same name"),
        (lambda m: m["members"][0].update(name="evaluation"), "evaluation"),
        (lambda m: m["members"][0]["rounds"].reverse(), "m0"),
        (lambda m: m["members"][0].update(model=HEX), "m0"),
        (lambda m: m["members"][0]["rounds"][0]["survivors"].reverse(), "sorted"),
        (lambda m: m["members"][0]["rounds"][0].update(survivors=["silo-09"]), "silo-09"),
        (lambda m: m["evaluation"].update(silos=["silo-09"]), "silo-09"),
        (lambda m: m["rows"].update({"silo-09": m["rows"]["silo-00"]}), "silo-09"),
    ],
)
def test_what_is_unknown_missing_malformed_or_contradicts_itself_is_named(
    release: Released, change: Callable[[dict[str, Any]], Any], named: str
) -> None:
    document = json.loads(release.manifest)
    change(document)
    with pytest.raises(ManifestError) as error:
        Manifest.parse(rfc8785.dumps(document))
    assert named in str(error.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data + b"\n",
        lambda data: data.replace(b":", b": ", 1),
        lambda data: b'{"v":1,' + data[1:],
        lambda data: data[:-1],
        lambda data: b"\xff" + data,
        lambda data: b"[" * 100_000,
        lambda data: b"NaN",
        lambda data: data.replace(b'"enrolment":1', b'"enrolment":' + b"9" * 30),
        lambda data: data.replace(b'"enrolment":1', b'"enrolment":1e999'),
        lambda data: b"[]",
        lambda data: b" " * (MAX_BYTES + 1),
    ],
)
def test_bytes_that_are_not_the_one_canonical_form_are_refused(
    release: Released, spoil: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(ManifestError):
        Manifest.parse(spoil(release.manifest))
