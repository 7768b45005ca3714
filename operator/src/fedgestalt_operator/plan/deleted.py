"""What is owed to the silos of a round whose resource is gone: a last word, and that nothing of theirs is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..api.reasons import RoundReason
from .board import Board
from .context import hex_of
from .kinds import HUB, Kind
from .types import Decision, Entry

MESSAGE: Final = "the FederationRound was deleted at the hub"


@dataclass(frozen=True, slots=True)
class LastWord:
    """A decision to post, if any, and digests (hexadecimal) of blobs that nobody needs after it."""

    decision: Decision | None = None
    unwanted: tuple[str, ...] = ()


def end_of_deleted(entries: Sequence[Entry]) -> LastWord:
    """How the board of a deleted round ends.

    A round that was never accepted told nobody anything, and one that was released is over; a rehearsal gets its end here,
    for its silos wait for one. Called again after its outcome was applied, it comes to the same blobs and no decision.
    """
    board = Board(entries)
    if board.hub(Kind.COMPUTATION) is None or board.anywhere(Kind.RELEASED):
        return LastWord()
    sent = (e for e in entries if e.kind in (Kind.MASKED, Kind.ROWS) and e.sender != HUB)
    unwanted = tuple(sorted({hex_of(e.body["digest"]) for e in sent}))
    if board.anywhere(Kind.FAILED):
        return LastWord(None, unwanted)
    body = {"reason": RoundReason.DELETED.value, "message": MESSAGE}
    return LastWord(Decision(board.enrolment, "", 0, 0, Kind.FAILED.value, body), unwanted)
