"""A board that was set back, or tells another story, is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fedgestalt.crypto.keys import SigningKey
from fedgestalt.exchange.chain import FileChainState, Position, Receipt, extend, genesis
from fedgestalt.exchange.errors import BoardRewoundError, ExchangeError, UntrustedExchangeError
from fedgestalt.exchange.listing import Entry, Listing, Page, verify_page

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
