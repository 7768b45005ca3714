"""A release's proof: the signed messages of its round that show how it came about.

Of every communication round only the try that ended it is kept, and of the enrolment only the attempt that stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from fedgestalt.crypto.encoding import decode, encode
from fedgestalt.crypto.errors import EncodingError
from fedgestalt.lineage.errors import ProofError
from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.kinds import HUB, Kind
from fedgestalt.secagg.messages import Message, Slot

MAX_BYTES: Final = 128 << 20
MAX_MESSAGES: Final = 1 << 18

Coordinates = tuple[str, int, int]
NOWHERE: Final[Coordinates] = ("", 0, 0)

_ONCE: Final = frozenset(
    {
        Kind.ROSTER, Kind.ENDORSE, Kind.ENROLLED, Kind.ADMIT, Kind.ROWS, Kind.ROWS_CLOSED, Kind.SCORE, Kind.MANIFEST,
        Kind.SIGN, Kind.RELEASED,
    }
)  # fmt: skip
_OVER: Final = frozenset({Kind.ADVANCE, Kind.SKIP})
_OF_A_TRY: Final = _OVER | {Kind.SURVIVORS, Kind.ACCEPT, Kind.MODEL}
KINDS: Final = _ONCE | _OF_A_TRY | {Kind.COMPUTATION, Kind.ENROL}
"""Kinds of messages that a proof holds."""


def collect(messages: Iterable[Message]) -> bytes:
    """Choose from a round's board what proves its release: canonical CBOR, a list of envelopes in board order.

    What was posted after `released` is left out, so that hub and silos come to the same bytes whenever they collect.

    Args:
        messages: all messages of the round, in the board's order; signatures need not be checked yet.

    Raises:
        ProofError: the board has no release, or the proof would exceed 128 MiB.
    """
    board = tuple(messages)
    end = next((place for place, m in enumerate(board) if m.slot.kind is Kind.RELEASED), None)
    if end is None:
        raise ProofError("the board holds no `released` decision: the round has not come to a release")
    released, board = board[end], board[: end + 1]
    enrolment = released.slot.enrolment
    roster = {
        name
        for m in board
        if m.slot.kind is Kind.ROSTER and m.slot.enrolment == enrolment
        for name in m.body["silos"]
    }
    over = {_try(m.slot) for m in board if m.slot.enrolment == enrolment and m.slot.kind in _OVER}
    chosen = [m for m in board if _belongs(m, enrolment, roster, over)]
    data = encode([m.encode() for m in chosen])
    if len(data) > MAX_BYTES or len(chosen) > MAX_MESSAGES:
        raise ProofError(
            f"the proof has {len(data)} bytes in {len(chosen)} messages: more than a proof may have"
        )
    return data


def _belongs(message: Message, enrolment: int, roster: set[str], over: set[Coordinates]) -> bool:
    slot = message.slot
    if slot.kind is Kind.COMPUTATION:
        return True
    if slot.enrolment != enrolment or slot.kind not in KINDS:
        return False
    return (slot.sender == HUB or slot.sender in roster) and (
        slot.kind not in _OF_A_TRY or _try(slot) in over
    )


def _try(slot: Slot) -> Coordinates:
    return slot.member, slot.t, slot.attempt


@dataclass(frozen=True)
class Proof:
    """A proof that was read. Signatures are not checked here: see :func:`fedgestalt.lineage.verify.verify`.

    Attributes:
        messages: in board order, each slot at most once.
    """

    messages: tuple[Message, ...]
    _index: Mapping[tuple[Kind, Coordinates], dict[str, Message]] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read untrusted bytes.

        Raises:
            ProofError: too large, not a canonical list of envelopes, a kind that no proof holds, a slot twice.
        """
        try:
            items = decode(data, limit=MAX_BYTES)
        except EncodingError as error:
            raise ProofError(f"the proof is malformed: {error}. Fetch it again") from error
        if type(items) is not list or not items or len(items) > MAX_MESSAGES:
            raise ProofError(f"the proof is not a list of 1 to {MAX_MESSAGES} messages. Fetch it again")
        messages = []
        index: dict[tuple[Kind, Coordinates], dict[str, Message]] = {}
        for place, item in enumerate(items):
            if type(item) is not bytes:
                raise ProofError(f"the proof's item {place} is no message. Fetch it again")
            try:
                message = Message.decode(item)
            except MessageError as error:
                raise ProofError(f"the proof's message {place} is malformed: {error}") from error
            if message.slot.kind not in KINDS:
                raise ProofError(f"the proof's message {place} ({message.slot}) does not belong in a proof")
            senders = index.setdefault((message.slot.kind, _try(message.slot)), {})
            if message.slot.sender in senders:
                raise ProofError(f"the proof's message {place} ({message.slot}) is there twice")
            senders[message.slot.sender] = message
            messages.append(message)
        return cls(tuple(messages), index)

    def hub(self, kind: Kind, at: Coordinates = NOWHERE) -> Message | None:
        """The hub's message of a kind at (member, t, try); None if it is not there."""
        return self._index.get((kind, at), {}).get(HUB)

    def silos(self, kind: Kind, at: Coordinates = NOWHERE) -> Mapping[str, Message]:
        """The silos' messages of a kind at (member, t, try), by silo."""
        return self._index.get((kind, at), {})

    def ends(self, member: str, t: int) -> list[Message]:
        """All decisions that claim to have ended (member, t)."""
        return [
            m
            for m in self.messages
            if m.slot.kind in _OVER and (m.slot.member, m.slot.t) == (member, t) and m.slot.sender == HUB
        ]
