"""The export of a board: nothing the planner reads is lost, nothing secret is in it, and bad files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.secagg.schemas import SCHEMAS
from fedgestalt_operator.kube.errors import ClusterUnavailable, Forbidden, NotServed
from fedgestalt_operator.plan import Entry
from fedgestalt_operator.plan.board_file import SHOWN, Withheld, export_board
from fedgestalt_operator.plan.kinds import HUB
from fedgestalt_operator.plugin.board_read import BoardError, parse_board, read_board
from fedgestalt_operator.plugin.ends import End
from fedgestalt_operator.plugin.sources import HubSource

from .rounds import NAMESPACE, Rig, document

SECRET = b"\xabsecret share"


def entry(kind: str, body: dict[str, Any], sender: str = "west") -> Entry:
    return Entry(1, 1_795_530_000.25, 1, "m0", 1, 1, kind, sender, body)


def there_and_back(*entries: Entry) -> tuple[Entry, ...]:
    exported = json.loads(json.dumps(export_board(document(), entries, {"silos": {}})))
    return parse_board(exported, "the board").entries


def test_entries_come_back_as_they_were() -> None:
    body = {"digest": bytes(range(32)), "silos": ["east", "west"], "owners": {"east": b"\x01"}, "scale": 16}
    told = entry("aggregate", body, HUB)
    assert there_and_back(told) == (told,)


def test_tuples_of_a_body_come_back_as_lists() -> None:
    [back] = there_and_back(entry("roster", {"silos": ("east", "west")}, HUB))
    assert back.body["silos"] == ["east", "west"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("shares", {"sealed": {"east": SECRET}}),
        ("reveal", {"self": {"east": SECRET}, "pair": {"north": SECRET}}),
        ("opening", {"sealed": {"east": SECRET}}),
        ("welcome", {"sealed": {"east": SECRET}}),
        ("a kind of another version", {"anything": SECRET}),
    ],
)
def test_shares_seeds_and_sealed_keys_are_withheld(kind: str, body: dict[str, Any]) -> None:
    exported = export_board(document(), [entry(kind, body)], None)
    assert SECRET.hex() not in json.dumps(exported)
    [back] = parse_board(json.loads(json.dumps(exported)), "the board").entries
    assert all(value == Withheld(len(SECRET)) for value in back.body.values())


def test_fields_that_are_shown_are_fields_of_the_protocol() -> None:
    known = {str(kind): set(fields) for kind, fields in SCHEMAS.items()}
    for kind, shown in SHOWN.items():
        assert shown <= known[str(kind)], kind


def test_status_labels_and_annotations_of_the_round_stay_out() -> None:
    made = document() | {"status": {"phase": "Training"}}
    made["metadata"] |= {"annotations": {"note": "private"}, "managedFields": []}
    exported = export_board(made, [], None)["round"]
    assert "status" not in exported
    assert exported["metadata"].keys() == {"name", "namespace", "uid", "generation", "creationTimestamp"}


def good() -> dict[str, Any]:
    exported = export_board(document(), [entry("keys", {"model": b"\x01", "public": b"\x02"})], None)
    parsed: dict[str, Any] = json.loads(json.dumps(exported))
    return parsed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("format"), "no exported board"),
        (lambda d: d.update(version=2), "reads version 1"),
        (lambda d: d.pop("round"), "round, computation or base"),
        (lambda d: d["round"].update(kind="Silo"), "round, computation or base"),
        (lambda d: d.update(base={"digest": "00"}), "round, computation or base"),
        (lambda d: d.update(computation=[]), "computation must be"),
        (lambda d: d.update(entries={}), "entries a list"),
        (lambda d: d["entries"].append("x"), "entry 1 is no object"),
        (lambda d: d["entries"].append(d["entries"][0]), "seq must grow"),
        (lambda d: d["entries"][0].pop("sender"), "field 'sender'"),
        (lambda d: d["entries"][0].update(t=True), "field 't'"),
        (lambda d: d["entries"][0]["body"].update(model={"$hex": "xyz"}), "not hexadecimal"),
        (lambda d: d["entries"][0]["body"].update(model={"$hex": 1}), "not hexadecimal"),
    ],
)
def test_what_is_no_export_is_refused_with_its_place(change: Any, said: str) -> None:
    exported = good()
    change(exported)
    with pytest.raises(BoardError, match=said):
        parse_board(exported, "board.json")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"nothing\.json"):
        read_board(tmp_path / "nothing.json")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(BoardError, match="is no JSON"):
        read_board(tmp_path / "text.json")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Forbidden("get path: forbidden"), 5, "right to get services/proxy of fedgestalt-hub in federation"),
        (NotServed("get path: HTTP 404"), 4, "no board of round gm-2026-09 behind service fedgestalt-hub"),
        (ClusterUnavailable("no endpoints available"), 5, "no endpoints available"),
        (None, 5, "no exported board"),
    ],
)
def test_board_that_the_hub_does_not_give_is_said(error: Exception | None, code: int, said: str) -> None:
    def answer(path: str) -> dict[str, Any]:
        if error is not None:
            raise error
        return {"kind": "Status"}

    with pytest.raises(End, match=said) as found:
        HubSource(Rig().cluster, NAMESPACE, NAMESPACE, answer).read("gm-2026-09")
    assert found.value.exit_code == code
