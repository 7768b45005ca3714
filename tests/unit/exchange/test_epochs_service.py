"""What an epoch keeps, counts and answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from fedgestalt.exchange.epochs.ledger import REPEAT
from fedgestalt.exchange.epochs.service import EpochService
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.epochs.tombstone import MAX_HANDLES, Tombstone
from fedgestalt.exchange.epochs.values import Budget, Cause, Counts, Taken
from fedgestalt.exchange.errors import (
    BudgetSpentError,
    Code,
    EpochUnknownError,
)
from fedgestalt.flake.errors import FlakeError

from .epoch_hub import KEYS, MEMBERS, NOW, Hub, filled, hub, refusal
from .epoch_rows import EPOCH, FIRST, WIDTH, handle, unit, upload

__all__ = ["filled", "hub"]


def test_an_epoch_keeps_gallery_and_undiagnosed_rows_and_no_tests(filled: Hub) -> None:
    record, _ = filled.service.store.full_record(EPOCH)
    assert record.counts == {name: Counts(20, 2) for name in FIRST}
    content = b"".join(path.read_bytes() for path in filled.directory.iterdir())
    for name in FIRST:
        rows = upload(name, test=3, undiagnosed=2)
        assert rows.gallery.rows[4].tobytes() in content
        assert rows.undiagnosed.rows[1].tobytes() in content
        assert rows.test.rows[1].tobytes() not in content


def test_an_answer_names_the_nearest_case_of_the_others(filled: Hub) -> None:
    west = upload("west", test=3, undiagnosed=2).gallery.rows
    assert filled.ask("east", west[7])[0] == FIRST["west"] + 7
    assert all(number < FIRST["west"] for number in filled.ask("west", west[7]))
    filled.restart()
    assert filled.ask("east", west[7])[0] == FIRST["west"] + 7


def test_indexes_are_made_before_the_first_question(filled: Hub) -> None:
    assert EPOCH in filled.service._indexes
    filled.restart()
    assert not filled.service._indexes
    filled.service.warm()
    assert filled.service._indexes[EPOCH].counts() == dict.fromkeys(FIRST, 20)
    closed = EpochService(EpochStore(filled.directory.parent / "other"))
    closed.store.close()
    closed.warm()


def test_rows_of_a_round_are_counted_once_whatever_is_repeated(filled: Hub) -> None:
    assert filled.spent("west") == (25, 0)
    rows = upload("west", test=3, undiagnosed=2)
    assert filled.ingest("west", rows) == Taken(0, 0)
    filled.restart()
    assert filled.ingest("west", rows) == Taken(0, 0)
    assert filled.spent("west") == (25, 0)
    # A later round's blob holds the same cases: they are there, only its tests are new questions.
    assert filled.ingest("west", rows, "west-2") == Taken(0, 22)
    assert filled.spent("west") == (28, 0)


def test_an_interrupted_taking_goes_on_without_counting_twice(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.open()
    monkeypatch.setattr("fedgestalt.exchange.epochs.cases._PART_BYTES", 8 * 8 * WIDTH)
    rows, real, calls = upload("west", gallery=40, test=5), hub.service.store.take, []

    def cut(*arguments: object, **rest: object) -> object:
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(hub.service.store, "take", cut)
    with pytest.raises(KeyboardInterrupt):
        hub.ingest("west", rows)
    assert hub.spent("west") == (24, 0)
    hub.restart()
    assert hub.ingest("west", rows) == Taken(16, 24)
    assert hub.spent("west") == (45, 0)
    assert hub.ask("east", rows.gallery.rows[39])[:1] == [FIRST["west"] + 39]


def test_new_cases_are_found_at_once_and_changed_ones_replace(filled: Hub) -> None:
    more = upload("north", gallery=1, seed=77, first=500)
    question = more.gallery.rows[0]
    assert FIRST["north"] + 500 not in filled.ask("east", question)
    assert filled.add("north", more) == Taken(1, 0)
    assert filled.add("north", more) == Taken(0, 1)
    assert filled.ask("east", question)[0] == FIRST["north"] + 500
    # The diagnosis is taken back: the case stays, undiagnosed, and no answer names it.
    opened = upload("north", gallery=0, undiagnosed=1, seed=77, first=500)
    assert np.array_equal(opened.undiagnosed.rows[0], question)
    assert filled.add("north", opened) == Taken(1, 0)
    assert FIRST["north"] + 500 not in filled.ask("east", question)
    assert filled.spent("north") == (27, 0)


def test_a_withdrawn_case_is_gone_from_answers_and_files_and_stays_out(filled: Hub) -> None:
    rows = upload("west", test=3, undiagnosed=2)
    gone = rows.gallery.rows[7]
    number = FIRST["west"] + 7
    assert filled.ask("east", gone)[0] == number
    assert filled.withdraw("west", number, 424242) == 1
    assert number not in filled.ask("east", gone)
    content = b"".join(path.read_bytes() for path in filled.directory.iterdir())
    assert gone.tobytes() not in content
    assert rows.gallery.rows[8].tobytes() in content
    assert filled.causes() == [(Cause.WITHDRAWAL, "west")]
    assert filled.withdraw("west", number, 424242) == 0
    filled.restart()
    assert number not in filled.ask("east", gone)
    assert filled.ingest("west", rows, "west-2") == Taken(0, 21, withdrawn=1)
    with refusal(Code.HANDLE_WITHDRAWN):
        filled.add("west", upload("west", gallery=8))
    assert number not in filled.ask("east", gone)


def test_the_signed_statement_of_a_withdrawal_is_kept(filled: Hub) -> None:
    filled.withdraw("west", FIRST["west"])
    ((tombstone, signature, identity),) = filled.service.store.statements(EPOCH)
    assert (tombstone.owner, tombstone.handles) == ("west", (handle(FIRST["west"]),))
    tombstone.verify(KEYS["west"].public, signature)
    assert identity == KEYS["west"].public


def test_only_the_owner_can_withdraw(filled: Hub) -> None:
    number = FIRST["west"] + 1
    # east's own statement names a case of west: it is kept, and removes nothing of west's.
    assert filled.withdraw("east", number) == 0
    forged = Tombstone(EPOCH, "west", (handle(number),))
    with refusal(Code.SIGNATURE_INVALID):
        filled.service.withdraw(forged, forged.sign(KEYS["east"]), MEMBERS["west"], now=NOW)
    with refusal(Code.NOT_IN_EPOCH):
        filled.service.withdraw(forged, forged.sign(KEYS["west"]), MEMBERS["east"], now=NOW)
    other = Tombstone("f" * 64, "west", (handle(number),))
    with refusal(Code.SIGNATURE_INVALID):
        filled.service.withdraw(forged, other.sign(KEYS["west"]), MEMBERS["west"], now=NOW)
    assert filled.service.store.full_record(EPOCH)[0].counts["west"] == Counts(20, 2)


@pytest.mark.parametrize(
    "handles", [(), (b"short",), (handle(2), handle(1)), (handle(1),) * 2, tuple(map(handle, range(1025)))]
)
def test_a_statement_has_one_form(handles: tuple[bytes, ...]) -> None:
    assert MAX_HANDLES == 1024
    with pytest.raises(FlakeError):
        Tombstone(EPOCH, "west", handles)


def test_the_budget_ends_questions_and_says_that_a_rotation_is_due(filled: Hub) -> None:
    filled.open(budget=Budget(rows=100, queries=2))
    row = unit(5, 2)
    filled.ask("east", row[0])
    filled.ask("east", row[1])
    assert filled.spent("east") == (27, 2)
    assert filled.causes() == []
    with pytest.raises(BudgetSpentError):
        filled.ask("east", row[0])
    filled.restart()
    with pytest.raises(BudgetSpentError):
        filled.ask("east", row[0])
    assert filled.spent("east") == (27, 2)
    assert filled.causes() == [(Cause.BUDGET_SPENT, "east")]
    filled.ask("north", row[0])  # each silo has its own


def test_rows_and_queries_share_one_budget(filled: Hub) -> None:
    filled.open(budget=Budget(rows=27, queries=50))
    filled.ask("east", unit(5, 1)[0])
    with pytest.raises(BudgetSpentError):
        filled.add("east", upload("east", gallery=2, seed=9, first=600))
    assert filled.service.store.full_record(EPOCH)[0].counts["east"] == Counts(20, 2)
    filled.add("east", upload("east", gallery=1, seed=9, first=600))
    with pytest.raises(BudgetSpentError):
        filled.ask("east", unit(5, 1)[0])
    assert filled.spent("east") == (27, 1)


def test_an_upload_is_taken_as_a_whole_or_not_at_all(filled: Hub) -> None:
    filled.open(budget=Budget(rows=28))
    filled.ask("east", unit(5, 1)[0])
    with pytest.raises(BudgetSpentError):
        filled.add("east", upload("east", gallery=2, undiagnosed=1, seed=9, first=600))
    assert filled.service.store.full_record(EPOCH)[0].counts["east"] == Counts(20, 2)
    assert filled.spent("east") == (26, 1)
    filled.add("east", upload("east", gallery=1, undiagnosed=1, seed=9, first=600))
    assert filled.spent("east") == (28, 1)


def test_a_case_is_not_diagnosed_and_undiagnosed_at_once(filled: Hub) -> None:
    rows = upload("west", gallery=1, undiagnosed=1, first=600)
    both = replace(rows, undiagnosed=replace(rows.undiagnosed, handles=rows.gallery.handles))
    with refusal(Code.ROWS_INVALID):
        filled.add("west", both)
    with refusal(Code.ROWS_INVALID):
        filled.ingest("west", both, "west-2")


def test_withdrawals_of_cases_that_never_were_have_an_end(
    filled: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgestalt.exchange.epochs.store.MAX_WITHDRAWN", 3)
    filled.withdraw("west", 1, 2)
    filled.withdraw("west", 1)  # said already: no second statement
    with refusal(Code.QUOTA_EXCEEDED):
        filled.withdraw("west", 3, 4)
    filled.withdraw("east", 1)
    assert len(filled.service.store.statements(EPOCH)) == 2


def test_questions_withdrawals_and_new_rows_at_once_leave_one_truth(filled: Hub) -> None:
    west = upload("west", test=3, undiagnosed=2).gallery.rows
    late: list[int] = []

    def ask(k: int) -> None:
        gone = set(done)
        late.extend(gone & set(filled.ask("east", west[k % 20], key=k + 1)))

    def change(k: int) -> None:
        filled.withdraw("west", FIRST["west"] + k)
        done.append(FIRST["west"] + k)
        filled.add("north", upload("north", gallery=1, seed=k, first=700 + k))

    done: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(ask, k) for k in range(40)] + [pool.submit(change, k) for k in range(10)]
        for future in futures:
            future.result()
    assert late == []  # no answer that began after a withdrawal names what was withdrawn
    assert filled.spent("east") == (25 + 40, 40)
    assert filled.service.store.full_record(EPOCH)[0].counts["north"] == Counts(30, 2)
    before = [filled.ask("east", row) for row in west]
    filled.restart()
    assert [filled.ask("east", row) for row in west] == before


def test_rows_of_a_round_beyond_the_budget_are_not_taken_in_part(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgestalt.exchange.epochs.cases._PART_BYTES", 8 * 8 * WIDTH)
    hub.open(budget=Budget(rows=40))
    with pytest.raises(BudgetSpentError):
        hub.ingest("west", upload("west", gallery=36, test=5))
    assert hub.service.store.full_record(EPOCH)[0].counts == {}
    assert hub.spent("west") == (0, 0)


def test_a_repeated_question_is_counted_once_and_another_one_again(filled: Hub) -> None:
    one, two = unit(6, 2)
    first = filled.ask("east", one, key=1)
    filled.restart()
    assert filled.ask("east", one, key=1) == first
    assert filled.spent("east") == (26, 1)
    filled.ask("east", two, key=1)  # the same key does not make another row free
    filled.ask("east", one, key=2)
    filled.ask("north", one, key=1)
    assert filled.spent("east") == (28, 3)
    assert filled.spent("north") == (26, 1)
    filled.ask("east", one, key=1, now=NOW + REPEAT + 1)
    assert filled.spent("east") == (29, 4)


def test_a_question_leaves_nothing_of_its_row_on_the_disk(filled: Hub) -> None:
    question = unit(8, 1)[0]
    filled.ask("east", question, key=3)
    content = b"".join(path.read_bytes() for path in filled.directory.iterdir())
    assert question[:4].tobytes() not in content
    assert (3).to_bytes(32, "big") not in content


@pytest.mark.parametrize(
    "row", [unit(1, 1)[0] * 1.0001, unit(1, 1, WIDTH + 1)[0], np.full(WIDTH, np.nan), np.zeros(0)]
)
def test_what_is_no_row_of_the_epoch_is_refused_and_not_counted(filled: Hub, row: np.ndarray) -> None:
    with refusal(Code.ROWS_INVALID):
        filled.ask("east", row)
    assert filled.spent("east") == (25, 0)


def test_rows_of_another_frame_or_width_are_refused(filled: Hub) -> None:
    for rows in (
        upload("west", fingerprint=bytes(16), first=50),
        upload("west", width=WIDTH + 1, first=50),
    ):
        with refusal(Code.ROWS_INVALID):
            filled.add("west", rows)
        with refusal(Code.ROWS_INVALID):
            filled.ingest("west", rows, "west-2")
    long = upload("west", gallery=1, first=50)
    long.gallery.rows[0] *= 1.01
    with refusal(Code.ROWS_INVALID):
        filled.add("west", long)
    with refusal(Code.ROWS_INVALID):
        filled.add("west", upload("west", gallery=1, test=1, first=50))
    with refusal(Code.ROWS_INVALID):
        filled.service.add(EPOCH, "west", MEMBERS["west"], b"FGARRAY1" + bytes(40), now=NOW)
    assert filled.spent("west") == (25, 0)


def test_a_silos_rows_cannot_be_the_first_of_an_epoch(hub: Hub) -> None:
    hub.open()
    with refusal(Code.EPOCH_EMPTY):
        hub.add("west", upload("west"))
    with refusal(Code.EPOCH_EMPTY):
        hub.ask("west", unit(0, 1)[0])


def test_a_handle_belongs_to_the_silo_that_had_it_first(filled: Hub) -> None:
    with refusal(Code.HANDLE_TAKEN):
        filled.add("east", upload("east", gallery=1, first=FIRST["west"] - FIRST["east"]))


def test_strangers_and_silos_with_another_identity_get_nothing(filled: Hub) -> None:
    row = unit(0, 1)[0].tobytes()
    for name, identity in (("south", MEMBERS["west"]), ("west", MEMBERS["east"]), ("west", None)):
        with refusal(Code.NOT_IN_EPOCH):
            filled.service.ask(EPOCH, name, identity, row, bytes(32), now=NOW)
        with refusal(Code.NOT_IN_EPOCH):
            filled.service.add(EPOCH, name, identity, upload("west").encode(), now=NOW)
    with pytest.raises(EpochUnknownError):
        filled.service.ask("f" * 64, "west", MEMBERS["west"], row, bytes(32), now=NOW)
    with refusal(Code.NOT_IN_EPOCH):
        filled.service.ingest(EPOCH, "south", "d", upload("west").encode(), now=NOW)
