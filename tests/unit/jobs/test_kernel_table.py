"""The kernel's answer for as many silos as a round may have: a table of its own, named in the result by its digest."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from fedgestalt_operator.hub.tables import with_tables
from fedgestalt_operator.kube.jobs import MAX_RESULT_BYTES, parse_result
from fedgestalt_operator.plan.matching import _has_owners
from fedgestalt_operator.plan.types import JobPhase, JobState

from .kernel_board import Board, rows

SILOS = [f"silo-of-a-long-na-{i:02x}" for i in range(128)]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, str]:
    """A kernel Job over 128 silos: the board after it, and what it left in its termination message."""
    board = Board({silo: rows(number).encode() for number, silo in enumerate(SILOS)})
    return board, board.play(tmp_path_factory.mktemp("job"))


def test_the_result_for_128_silos_is_read_whole(played: tuple[Board, str]) -> None:
    board, message = played
    assert len(message) < 200
    table = board.blobs[parse_result(message)["table"]]
    assert len(table) > MAX_RESULT_BYTES, "in the result itself it would have been too large"
    owners = json.loads(table)["owners"]
    assert sorted(owners) == sorted(SILOS)
    assert all(digest in board.blobs for digest in owners.values())


def test_the_operator_reads_the_table_and_the_planner_takes_it(played: tuple[Board, str]) -> None:
    board, message = played
    exchange: Any = board
    state = JobState(JobPhase.SUCCEEDED, parse_result(message))
    (read,) = with_tables(exchange, "uid", {"kernel": state}).values()
    assert _has_owners(read, set(SILOS))
    assert read.result["blocks"] == parse_result(message)["blocks"]


@pytest.mark.parametrize("damaged", [None, b"", b"[]", b'{"owners": ', b"x" * (257 * 1024)])
def test_a_table_that_is_not_there_or_none_makes_the_job_a_failed_one(damaged: bytes | None) -> None:
    board = Board({})
    digest = "ab" * 32
    if damaged is not None:
        board.blobs[digest] = damaged
    exchange: Any = board
    state = JobState(JobPhase.SUCCEEDED, {"table": digest})
    (read,) = with_tables(exchange, "uid", {"kernel": state}).values()
    assert not _has_owners(read, set(SILOS))


def test_a_name_that_is_no_digest_is_not_asked_for() -> None:
    exchange: Any = SimpleNamespace()
    state = JobState(JobPhase.SUCCEEDED, {"table": "../../etc"})
    (read,) = with_tables(exchange, "uid", {"kernel": state}).values()
    assert read.result == {}
