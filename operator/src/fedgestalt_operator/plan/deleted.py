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
    """A decision to post, if any, and digests (hexadecimal) of blobs that nobody needs after it.

    `release` is the digest (hexadecimal) of a release that was decided, if any: `rows` are the blobs that its publication
    takes, and nobody needs them if it cannot be published.
    """

    decision: Decision | None = None
    unwanted: tuple[str, ...] = ()
    release: str = ""
    rows: tuple[str, ...] = ()


def end_of_deleted(entries: Sequence[Entry]) -> LastWord:
    """How the board of a deleted round ends.

    A round that was never accepted told nobody anything, and one that was released has said its last word, which may not
    be carried out yet; a rehearsal gets its end here, for its silos wait for one. Called again after its outcome was
    applied, it comes to the same blobs and no decision.
    """
    board = Board(entries)
    if board.hub(Kind.COMPUTATION) is None:
        return LastWord()
    masked, rows = _sent(entries, Kind.MASKED), _sent(entries, Kind.ROWS)
    released = board.anywhere(Kind.RELEASED)
    if released:
        return LastWord(None, masked, hex_of(released[0].body["digest"]), rows)
    if board.anywhere(Kind.FAILED):
        return LastWord(None, masked + rows)
    body = {"reason": RoundReason.DELETED.value, "message": MESSAGE}
    return LastWord(Decision(board.enrolment, "", 0, 0, Kind.FAILED.value, body), masked + rows)


def _sent(entries: Sequence[Entry], kind: Kind) -> tuple[str, ...]:
    sent = (e for e in entries if e.kind == kind and e.sender != HUB)
    return tuple(sorted({hex_of(e.body["digest"]) for e in sent}))
