"""Boards of many rounds as the hub last saw them: read on where they grew, forgotten when there are too many."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.listing import Entry as Listed
from fedgestalt.exchange.view import BoardView
from fedgestalt.secagg.messages import Kind, Message

from ..plan.types import Entry

MOST_ENTRIES: Final = 20_000
"""Entries that are kept in memory over all rounds; a board that was forgotten is read anew, about 1 kB an entry."""


@dataclass
class Board:
    """One round's board."""

    view: BoardView
    lock: threading.Lock = field(default_factory=threading.Lock)
    entries: list[Entry] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    computation: Mapping[str, Any] | None = None
    fresh: bool = False
    """Somebody has just waited for news: the next look is at what came then, the first message and not the last."""


class Boards:
    """Reads boards through one client. Safe for threads."""

    def __init__(self, client: BoardClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._boards: OrderedDict[str, Board] = OrderedDict()

    def read(self, uid: str, wait: float = 0.0) -> Board:
        """The board as it stands now; waits up to `wait` seconds for something new."""
        with self._lock:
            board = self._boards.setdefault(uid, Board(BoardView(self._client, uid)))
            self._boards.move_to_end(uid)
        with board.lock:
            if board.fresh and not wait:
                board.fresh = False
                return board
            board.fresh = wait > 0.0
            # All of a batch first: the view has moved on, and what is not taken here would be lost to us.
            for listed in board.view.refresh(wait):
                self._take(board, listed)
            self._read_computation(uid, board)
        self._forget_old()
        return board

    def known(self, uid: str) -> Board | None:
        """The board as it was read last."""
        with self._lock:
            return self._boards.get(uid)

    def _take(self, board: Board, listed: Listed) -> None:
        message = Message.decode(listed.message)
        entry = _entry(listed, message)
        if listed.seq <= len(board.entries):
            board.entries[listed.seq - 1] = entry  # its blobs are complete now
        else:
            board.entries.append(entry)
            board.messages.append(message)

    def _read_computation(self, uid: str, board: Board) -> None:
        """What is on the board is of no use without it: an exchange that keeps it from us is away for this round."""
        if board.computation is not None or not board.messages:
            return
        first = board.messages[0]
        if first.slot.kind is Kind.COMPUTATION and board.entries[0].complete:
            board.computation = json.loads(self._client.download(uid, first.blobs[0]))

    def _forget_old(self) -> None:
        with self._lock:
            kept = sum(len(board.entries) for board in self._boards.values())
            while kept > MOST_ENTRIES and len(self._boards) > 1:
                _, oldest = self._boards.popitem(last=False)
                kept -= len(oldest.entries)

    def forget(self, uid: str) -> None:
        """The round is gone."""
        with self._lock:
            self._boards.pop(uid, None)
        self._client.forget(uid)


def _entry(listed: Listed, message: Message) -> Entry:
    slot = message.slot
    return Entry(
        seq=listed.seq,
        received=listed.received / 1000.0,
        enrolment=slot.enrolment,
        member=slot.member,
        t=slot.t,
        attempt=slot.attempt,
        kind=str(slot.kind),
        sender=slot.sender,
        body=message.body,
        complete=listed.complete,
    )
