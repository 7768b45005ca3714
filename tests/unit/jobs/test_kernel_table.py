"""The kernel's answer for as many silos as a round may have: a table of its own, named in the result by its digest."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedgestalt.crypto.keys import AgreementKey
from fedgestalt.flake import SiloRows
from fedgestalt.flake.rows import GalleryRows, TestRows, UndiagnosedRows
from fedgestalt.jobs import kernel
from fedgestalt.jobs.context import JobContext
from fedgestalt.secagg.messages import Kind
from fedgestalt_operator.hub.tables import with_tables
from fedgestalt_operator.kube.jobs import MAX_RESULT_BYTES, parse_result
from fedgestalt_operator.plan.matching import _has_owners
from fedgestalt_operator.plan.types import JobPhase, JobState

WIDTH = 4
SILOS = [f"silo-of-a-long-na-{i:02x}" for i in range(128)]


def rows(number: int) -> bytes:
    """One gallery row and one test row of unit length."""
    handles = np.full((1, 16), number, dtype=np.uint8)
    unit = np.zeros((1, WIDTH))
    unit[0, number % WIDTH] = 1.0
    every = np.ones(1, dtype=np.uint32)
    made = SiloRows(
        fingerprint=b"f" * 16,
        splits=1,
        gallery=GalleryRows(unit, handles, handles, every),
        test=TestRows(unit, handles, every),
        undiagnosed=UndiagnosedRows(np.zeros((0, WIDTH)), np.zeros((0, 16), dtype=np.uint8)),
    )
    return made.encode()


class Board:
    """The round's blobs, and as much of its messages as the kernel reads."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        sealing = AgreementKey.from_seed(b"s" * 32).public
        message = SimpleNamespace
        self.messages: list[Any] = [
            message(slot=message(kind=Kind.ENROLLED, sender="hub"), body={"h": b"h" * 32}, blobs=()),
            message(slot=message(kind=Kind.ROWS_CLOSED, sender="hub"), body={"silos": SILOS}, blobs=()),
        ]
        for number, silo in enumerate(SILOS):
            enrol = message(kind=Kind.ENROL, sender=silo)
            self.messages.append(message(slot=enrol, body={"sealing": sealing}, blobs=()))
            data = rows(number)
            self.upload("", hashlib.sha256(data).hexdigest(), data)
            sent = message(kind=Kind.ROWS, sender=silo)
            self.messages.append(message(slot=sent, body={}, blobs=(hashlib.sha256(data).hexdigest(),)))

    def upload(self, round_uid: str, digest: str, data: bytes) -> None:
        self.blobs[digest] = data

    def download(self, round_uid: str, digest: str) -> bytes:
        return self.blobs[digest]

    def blob(self, round_uid: str, digest: str) -> bytes | None:
        return self.blobs.get(digest)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, str]:
    """A kernel Job over 128 silos: the board after it, and what it left in its termination message."""
    board, result = Board(), tmp_path_factory.mktemp("job") / "result"

    class Context(JobContext):
        def board(self) -> Any:
            return board.messages, None

    client: Any = board
    kernel.run(Context(client, client, "5f0c2d7e", 1, b"", {}, result))
    return board, result.read_text()


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
    board = Board()
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
