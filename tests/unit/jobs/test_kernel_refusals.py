"""One silo's rows that cannot be used: left out and named, whoever it is, and the others are ranked."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.flake import SiloRows
from fedgestalt_operator.kube.jobs import parse_result

from .kernel_board import Board, rows

HONEST = {name: rows(number).encode() for number, name in enumerate(("b-east", "c-north", "d-west"))}
BAD = {
    "random bytes": (bytes(range(256)) * 16, "not a flake-rows/v1 blob"),
    "nothing": (b"", "not a flake-rows/v1 blob"),
    "another width": (rows(3, width=8).encode(), "width 8"),
    "another number of splits": (replace(rows(3), splits=2).encode(), "2 splits"),
    "another frame": (replace(rows(3), fingerprint=b"g" * 16).encode(), f"frame {(b'g' * 16).hex()}"),
    "rows that are too long": (rows(3, length=2.0).encode(), "not of length one"),
}


def table(board: Board, folder: Path) -> dict[str, Any]:
    """The table that the Job made."""
    found: dict[str, Any] = json.loads(board.blobs[parse_result(board.play(folder))["table"]])
    return found


@pytest.mark.parametrize("place", ["a-first", "z-last"])
@pytest.mark.parametrize("kind", BAD)
def test_one_silo_of_four_is_left_out_and_named_wherever_it_stands(
    kind: str, place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, why = BAD[kind]
    with caplog.at_level(logging.WARNING):
        found = table(Board(dict(sorted({**HONEST, place: data}.items()))), tmp_path)
    assert found["owners"].keys() == HONEST.keys()
    assert found["refused"].keys() == {place}
    assert why in found["refused"][place]
    assert f"the rows of {place} are left out: " in caplog.text


def test_silos_that_agree_are_all_ranked(tmp_path: Path) -> None:
    assert table(Board(HONEST), tmp_path)["refused"] == {}


def test_if_nobodys_rows_can_be_read_the_job_says_so_of_each(tmp_path: Path) -> None:
    found = table(Board(dict.fromkeys(HONEST, b"no rows")), tmp_path)
    assert found["owners"] == {}
    assert found["refused"].keys() == HONEST.keys()


def gallery(number: int) -> SiloRows:
    """What the query service gives out of an epoch: a gallery without tests."""
    made = rows(number)
    test = made.test
    return replace(
        made, test=replace(test, rows=test.rows[:0], handles=test.handles[:0], splits=test.splits[:0])
    )


def test_among_newcomers_the_epochs_width_and_frame_decide_and_not_the_most(tmp_path: Path) -> None:
    strangers = {f"a-{i}": replace(rows(i), fingerprint=b"g" * 16).encode() for i in range(2)}
    joining = {"newcomer": rows(3).encode(), **strangers}
    found = table(Board(joining, {"member": gallery(5), "other": gallery(6)}), tmp_path)
    assert found["owners"].keys() == {"newcomer"}
    assert found["refused"].keys() == strangers.keys()
