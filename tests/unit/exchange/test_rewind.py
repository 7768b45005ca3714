"""A board that was set back, or tells another story, is refused."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fedgestalt.crypto.keys import SigningKey
from fedgestalt.exchange import chain
from fedgestalt.exchange.chain import FileChainState, Position, Receipt, extend, genesis
from fedgestalt.exchange.client import MOST_LINKS
from fedgestalt.exchange.errors import BoardRewoundError, ExchangeError, UntrustedExchangeError
from fedgestalt.exchange.listing import Entry, Listing, Page, verify_page
from fedgestalt.secagg.messages import Kind, Slot, sign

from .conftest import NAMES, ROUND, Federation


def test_a_restored_backup_is_noticed_after_a_restart_of_the_silo(
    enrolled: Federation, tmp_path: Path
) -> None:
    enrolled.stop()
    shutil.copytree(enrolled.board, tmp_path / "backup")
    enrolled.start()
    west = enrolled.client("west", state=FileChainState(tmp_path / "chain"))
    for name in NAMES:
        enrolled.client(name).post(enrolled.endorse(name))
    assert len(west.entries(ROUND, 0)) == 7
    enrolled.stop()
    shutil.rmtree(enrolled.board)
    shutil.copytree(tmp_path / "backup", enrolled.board)
    enrolled.start()
    again = enrolled.client("west", state=FileChainState(tmp_path / "chain"))
    for after in (0, 7):
        with pytest.raises(BoardRewoundError):
            again.entries(ROUND, after)


def test_a_restored_backup_that_grew_again_is_noticed(enrolled: Federation, tmp_path: Path) -> None:
    enrolled.stop()
    shutil.copytree(enrolled.board, tmp_path / "backup")
    enrolled.start()
    enrolled.client("west").post(enrolled.endorse("west"))
    enrolled.client("east").post(enrolled.endorse("east"))
    assert len(enrolled.client("west", state=FileChainState(tmp_path / "chain")).entries(ROUND, 0)) == 6
    enrolled.stop()
    shutil.rmtree(enrolled.board)
    shutil.copytree(tmp_path / "backup", enrolled.board)
    enrolled.start()
    for name in ("north", "east", "west"):
        enrolled.client(name).post(enrolled.endorse(name))
    for after in (0, 6):
        silo = enrolled.client("west", state=FileChainState(tmp_path / "chain"))
        with pytest.raises(BoardRewoundError):
            silo.entries(ROUND, after)


HUB = SigningKey.generate()


def page_of(*messages: bytes, key: SigningKey = HUB) -> tuple[Page, list[Position]]:
    link, entries, positions = genesis("r"), [], []
    receipt = b""
    for seq, message in enumerate(messages, start=1):
        previous, link = link, extend(link, seq, seq, message)
        entries.append(Entry(seq, seq, message, True))
        positions.append(Position(seq, link))
        receipt = Receipt("r", seq, seq, previous, link).signed(key).encode()
    return Page(Listing(tuple(entries), (), len(entries), len(entries)), receipt), positions


def check(page: Page, remembered: Position | None = None) -> list[Position]:
    start = Position(0, genesis("r"))
    return verify_page(page, round_uid="r", start=start, remembered=remembered or start, hub_key=HUB.public)


def test_a_page_travels_and_verifies() -> None:
    page, positions = page_of(b"a", b"b")
    assert Page.decode(page.encode()) == page
    assert check(page) == positions


def test_an_altered_or_left_out_or_unsigned_message_is_noticed() -> None:
    page, _ = page_of(b"a", b"b", b"c")
    entries = page.listing.entries
    altered = (entries[0], replace(entries[1], message=b"B"), entries[2])
    with pytest.raises(BoardRewoundError):
        check(replace(page, listing=replace(page.listing, entries=altered)))
    retimed = (entries[0], replace(entries[1], received=99), entries[2])
    with pytest.raises(BoardRewoundError):
        check(replace(page, listing=replace(page.listing, entries=retimed)))
    with pytest.raises(UntrustedExchangeError, match="left out"):
        check(replace(page, listing=replace(page.listing, entries=entries[::2])))
    with pytest.raises(UntrustedExchangeError, match="pinned"):
        check(page_of(b"a", key=SigningKey.generate())[0])


def test_another_message_where_one_was_remembered_is_noticed() -> None:
    _, seen = page_of(b"a", b"b")
    page, _ = page_of(b"a", b"x", b"c")
    with pytest.raises(BoardRewoundError):
        check(page, remembered=seen[1])


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xa0", b"\xff" * 8])
def test_a_malformed_listing_is_an_error_of_its_own(data: bytes) -> None:
    with pytest.raises(UntrustedExchangeError):
        Page.decode(data)
    with pytest.raises(UntrustedExchangeError):
        Receipt.decode(data)


def test_the_remembered_position_outlives_the_process_and_never_goes_back(tmp_path: Path) -> None:
    state = FileChainState(tmp_path)
    assert state.position("r") == Position(0, genesis("r"))
    state.advance("r", Position(5, b"5" * 32))
    state.advance("r", Position(3, b"3" * 32))
    assert FileChainState(tmp_path).position("r") == Position(5, b"5" * 32)
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    with pytest.raises(ExchangeError, match="damaged"):
        FileChainState(tmp_path).position("r")


def test_what_is_remembered_of_a_round_that_is_over_is_freed_and_its_file_goes(tmp_path: Path) -> None:
    state = FileChainState(tmp_path)
    for uid in ("r", "s"):
        state.advance(uid, Position(5, b"5" * 32))
    state.forget("r")
    state.forget("never seen")
    assert state.position("r") == Position(0, genesis("r"))
    assert FileChainState(tmp_path).position("s") == Position(5, b"5" * 32)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_round_does_not_wait_for_another_ones_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = FileChainState(tmp_path)
    slow = "slow"
    other = next(uid for uid in map(str, range(1000)) if state._lock(uid) is not state._lock(slow))
    state.position(other)
    begun, released = threading.Event(), threading.Event()
    write = chain.write_atomic

    def stuck(path: Path, data: bytes) -> None:
        if json.loads(data)["round"] == slow:
            begun.set()
            assert released.wait(20)
        write(path, data)

    monkeypatch.setattr(chain, "write_atomic", stuck)
    thread = threading.Thread(target=state.advance, args=(slow, Position(1, b"1" * 32)))
    thread.start()
    assert begun.wait(20)
    state.advance(other, Position(2, b"2" * 32))  # returns although the other one's disk does not
    assert state.position(other) == Position(2, b"2" * 32)
    released.set()
    thread.join(20)
    assert state.position(slow) == Position(1, b"1" * 32)


def test_a_client_that_lives_long_remembers_a_fixed_number_of_places_and_none_of_a_round_that_is_over(
    enrolled: Federation, tmp_path: Path
) -> None:
    hub = enrolled.client("hub")
    for t in range(1, MOST_LINKS + 20):
        slot = Slot(ROUND, 1, "Suspended", t, 0, Kind.STAGE, "hub")
        hub.post(sign(slot, {}, (), enrolled.hub).encode())
    state = FileChainState(tmp_path / "chain")
    west = enrolled.client("west", state=state)
    count = len(west.entries(ROUND, 0))
    assert count > MOST_LINKS
    assert len(west._links[ROUND]) == MOST_LINKS
    assert west.entries(ROUND, count) == []
    assert len(west.entries(ROUND, count - 10)) == 10, "a reader that is a little behind goes on"
    with pytest.raises(ValueError, match="read from 0"):
        west.entries(ROUND, 2)
    west.forget(ROUND)
    assert ROUND not in west._links
    assert list((tmp_path / "chain").iterdir()) == []
    assert len(west.entries(ROUND, 0)) == count, "it can be read again"
