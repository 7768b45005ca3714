"""How epochs and members of them end, and what is left then, whatever way the process ends."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from fedgestalt.exchange.epochs.service import EpochService
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.epochs.values import Budget, Cause
from fedgestalt.exchange.errors import (
    Code,
    EpochEndedError,
    EpochUnknownError,
)

from .epoch_hub import MEMBERS, NOW, Hub, filled, hub, refusal
from .epoch_rows import EPOCH, FIRST, PRINT, upload

__all__ = ["filled", "hub"]

SUCCESSOR = "d" * 64


def test_a_departed_silos_rows_go_and_a_rotation_is_due(filled: Hub) -> None:
    row = upload("west", test=3, undiagnosed=2).gallery.rows[3]
    assert filled.ask("east", row)[0] == FIRST["west"] + 3
    assert filled.open("east", "north") == ("west",)
    assert all(number < FIRST["west"] for number in filled.ask("east", row))
    assert filled.causes() == [(Cause.DEPARTURE, "west")]
    assert "west" not in filled.service.store.full_record(EPOCH)[0].counts
    with refusal(Code.NOT_IN_EPOCH):
        filled.ask("west", row)


def test_a_deleted_epoch_answers_no_more_and_its_ledger_goes_on(filled: Hub) -> None:
    row = upload("west").gallery.rows[3]
    filled.ask("east", row)
    filled.service.close_epoch(EPOCH)
    filled.service.close_epoch(EPOCH)
    with pytest.raises(EpochUnknownError):
        filled.ask("east", row)
    with sqlite3.connect(filled.directory / "epochs.sqlite") as db:
        assert db.execute("SELECT count(*) FROM cases").fetchone() == (0,)
    db.close()
    filled.open()
    assert filled.spent("east") == (26, 1)


def test_a_rotated_epoch_has_nothing_left_but_its_successors_name(filled: Hub) -> None:
    row = upload("west").gallery.rows[3]
    filled.ask("east", row)
    filled.withdraw("west", FIRST["west"] + 1)
    filled.service.end_epoch(EPOCH, SUCCESSOR, now=NOW)
    filled.service.end_epoch(EPOCH, "e" * 64, now=NOW + 1)  # a second rotation of it changes nothing
    for call in (
        lambda: filled.ask("east", row),
        lambda: filled.add("east", upload("east")),
        lambda: filled.ingest("east", upload("east"), "another"),
        lambda: filled.withdraw("east", FIRST["east"]),
        lambda: filled.service.discover(EPOCH),
        lambda: filled.service.gallery(EPOCH, "west"),
        lambda: filled.service.findings(EPOCH, "east", MEMBERS["east"]),
        lambda: filled.open(),
    ):
        with pytest.raises(EpochEndedError, match=SUCCESSOR) as caught:
            call()
        assert caught.value.successor == SUCCESSOR
    assert EPOCH not in filled.service._indexes
    row_bytes = upload("west", test=3, undiagnosed=2).gallery.rows[4].tobytes()
    assert all(row_bytes not in path.read_bytes() for path in filled.directory.iterdir())
    with sqlite3.connect(filled.directory / "epochs.sqlite") as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        left = {name for name in tables if db.execute(f"SELECT count(*) FROM {name}").fetchone() != (0,)}
    db.close()
    assert left == {"ended", "statements"}, "what was promised to a withdrawn patient stays provable"
    filled.restart()
    filled.service.warm()
    with refusal(Code.EPOCH_ENDED):
        filled.ask("east", row)


def test_an_answer_that_an_end_overtakes_is_refused_and_not_made_of_nothing(filled: Hub) -> None:
    charge = filled.service.store.charge_query

    def overtaken(*arguments: object, **named: object) -> Budget:
        left = charge(*arguments, **named)  # type: ignore[arg-type]
        filled.service.end_epoch(EPOCH, SUCCESSOR, now=NOW)
        return left

    filled.service.store.charge_query = overtaken  # type: ignore[method-assign, assignment]
    with refusal(Code.EPOCH_ENDED):
        filled.ask("east", upload("west").gallery.rows[3])
    assert EPOCH not in filled.service._indexes


_CHILD = """
import sys
from pathlib import Path
from fedgestalt.exchange.epochs.store import EpochStore
store = EpochStore(Path(sys.argv[1]))
k = int(sys.argv[2])
while True:
    k += 1
    store.charge_query(sys.argv[3], "east", k.to_bytes(32, "big"), now=1.0e6)
    print(k, flush=True)
"""


def test_what_was_counted_stays_counted_when_the_process_is_killed(filled: Hub) -> None:
    filled.service.store.close()
    reported = 0
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(filled.directory), str(reported), EPOCH],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for _ in range(5):
            reported = int(child.stdout.readline())
        child.kill()
        reported = max([reported, *map(int, child.stdout.read().split())])
        child.stdout.close()
        child.wait()
        filled.service = EpochService(EpochStore(filled.directory))
        _, queries = filled.spent("east")
        assert queries in (reported, reported + 1)  # counted before it was reported
        filled.service.store.close()
        reported = queries
    filled.service = EpochService(EpochStore(filled.directory))
    assert filled.service.store.record(EPOCH).setup is not None
    assert filled.service.store.record(EPOCH).setup.fingerprint == PRINT  # type: ignore[union-attr]
