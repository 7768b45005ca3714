"""A stretch of a round's board as clients see it: untrusted bytes, verified as the chain's continuation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fedgestalt.crypto.encoding import decode, encode
from fedgestalt.crypto.errors import EncodingError
from fedgestalt.exchange.chain import Position, Receipt, extend
from fedgestalt.exchange.errors import BoardRewoundError, UntrustedExchangeError

_MAX_BYTES: Final = 4 << 20
_FIELDS: Final = frozenset({"entries", "completed", "revision", "head", "receipt"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A message of the board.

    Attributes:
        seq: place on the board, from 1.
        received: milliseconds since the Unix epoch by the exchange's clock.
        message: the envelope's bytes; its signature is for the reader to check.
        complete: whether its blobs were all there when it was listed.
    """

    seq: int
    received: int
    message: bytes
    complete: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """New entries, entries listed before that became complete since, and the revision to ask from next."""

    entries: tuple[Entry, ...]
    completed: tuple[int, ...]
    revision: int
    head: int


@dataclass(frozen=True, slots=True)
class Page:
    """What travels. ``receipt``: signed, of the last entry, or of the one before an empty page."""

    listing: Listing
    receipt: bytes

    def encode(self) -> bytes:
        """Canonical CBOR."""
        listing = self.listing
        return encode(
            {
                "entries": [[e.seq, e.received, e.complete, e.message] for e in listing.entries],
                "completed": list(listing.completed),
                "revision": listing.revision,
                "head": listing.head,
                "receipt": self.receipt,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Page:
        """Read a page of at most 4 MiB; nothing is verified here.

        Raises:
            UntrustedExchangeError: malformed.
        """
        try:
            content = decode(data, limit=_MAX_BYTES)
            if type(content) is not dict or content.keys() != _FIELDS:
                raise EncodingError("not a listing")
            entries = tuple(_entry(item) for item in content["entries"])
            numbers = [content["revision"], content["head"], *content["completed"]]
            if any(type(number) is not int for number in numbers) or type(content["receipt"]) is not bytes:
                raise EncodingError("a field has another type")
        except (EncodingError, TypeError, ValueError) as error:
            raise UntrustedExchangeError(f"the exchange's listing is malformed: {error}") from error
        listing = Listing(entries, tuple(content["completed"]), content["revision"], content["head"])
        return cls(listing, content["receipt"])


def _entry(item: list[Any]) -> Entry:
    seq, received, complete, message = item
    if [type(field) for field in item] != [int, int, bool, bytes]:
        raise EncodingError("an entry has a field of another type")
    return Entry(seq, received, message, complete)


def verify_page(
    page: Page, *, round_uid: str, start: Position, remembered: Position, hub_key: bytes
) -> list[Position]:
    """Check that a page continues the chain; return the position after each of its entries.

    Args:
        start: where the page begins.
        remembered: the furthest position that was ever verified; it may lie before, inside or after the page.
        hub_key: the pinned public key, 32 bytes.

    Raises:
        BoardRewoundError: the board is shorter than, or another than, what was seen of it.
        UntrustedExchangeError: entries are left out, or the hub's key did not sign the page's end.
    """
    seen = max(remembered.seq, start.seq)
    if page.listing.head < seen:
        raise BoardRewoundError(
            f"round {round_uid}: the board ends at message {page.listing.head}, but message {seen} was seen. "
            "The exchange was set back; a new enrolment is needed."
        )
    positions: list[Position] = []
    position = start
    for entry in page.listing.entries:
        if entry.seq != position.seq + 1:
            raise UntrustedExchangeError(f"round {round_uid}: message {position.seq + 1} is left out")
        position = Position(entry.seq, extend(position.hash, entry.seq, entry.received, entry.message))
        if position.seq == remembered.seq and position.hash != remembered.hash:
            raise _other(round_uid, position.seq)
        positions.append(position)
    if position.seq == 0:
        return positions
    receipt = Receipt.decode(page.receipt)
    receipt.check_signature(hub_key)
    if (receipt.round, receipt.seq) != (round_uid, position.seq):
        raise UntrustedExchangeError(f"round {round_uid}: the listing's receipt is for another message")
    if receipt.hash != position.hash:
        raise _other(round_uid, position.seq)
    return positions


def _other(round_uid: str, seq: int) -> BoardRewoundError:
    return BoardRewoundError(
        f"round {round_uid}: the board up to message {seq} is not the one that was seen. "
        "The exchange was set back; a new enrolment is needed."
    )
