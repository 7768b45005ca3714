"""The client of the exchange: what silos, the hub and its jobs use. Synchronous, safe for threads."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fedgestalt.exchange.chain import ChainState, Position, Receipt, genesis
from fedgestalt.exchange.errors import UntrustedExchangeError
from fedgestalt.exchange.link import Changes, NewTask, ReleaseDocument, SiloPresence, SiloTaskDocument
from fedgestalt.exchange.link_client import MAX_WAIT, LinkClient
from fedgestalt.exchange.listing import Entry, Listing, Page, verify_page
from fedgestalt.exchange.tokens import Credential
from fedgestalt.exchange.transfer import download_blob, upload_blob
from fedgestalt.exchange.transport import Transport
from fedgestalt.secagg.messages import Message

__all__ = [
    "BoardClient",
    "Changes",
    "Entry",
    "Listing",
    "NewTask",
    "ReleaseDocument",
    "SiloPresence",
    "SiloTaskDocument",
]

MOST_LINKS: Final = 64
"""Places of a round that a reader can go on from. It goes on from the last one; there may be several readers."""


class BoardClient(LinkClient):
    """One caller of one exchange: the board here, what travels beside it in :class:`LinkClient`.

    ``state`` remembers how far each round's chain was verified: a board that does not extend it is refused.
    """

    def __init__(
        self,
        url: str,
        ca_file: Path,
        credential: Credential,
        *,
        name: str,
        hub_key: bytes,
        state: ChainState,
        deadline: float = 120.0,
        extra_ca: Path | None = None,
    ) -> None:
        """
        Args:
            url: ``https://host:port``.
            ca_file: the authority that the exchange's certificate descends from.
            extra_ca: authorities of a proxy that opens TLS; see :class:`Transport`.
            name: the silo's name, or ``hub``.
            hub_key: the hub's pinned public key, 32 bytes.
            deadline: seconds that one call may take in all, retries included.
        """
        self.name = name
        self._hub_key = hub_key
        self._state = state
        super().__init__(Transport(url, ca_file, credential, deadline=deadline, extra_ca=extra_ca))
        # By round, chain hashes of what this object listed last, so that a reader that is behind the remembered position,
        # as one that begins anew, can go on from there.
        self._links: dict[str, OrderedDict[int, bytes]] = {}
        self._links_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # Messages

    def post(self, message: bytes) -> Receipt:
        """Post an encoded envelope; return the verified receipt. Posting the same bytes again is safe.

        Raises:
            SlotTakenError: the slot holds other bytes.
            RoundOverError: the hub decided something in a round that it had ended.
            RefusedError, UnreachableError, UntrustedExchangeError: as they say.
        """
        round_uid = Message.decode(message).slot.round
        response = self._transport.request(
            "POST",
            f"/rounds/{round_uid}/messages",
            content=message,
            headers={"Content-Type": "application/cbor"},
        )
        receipt = Receipt.decode(response.content)
        receipt.check(self._hub_key, round_uid, message)
        return receipt

    def listing(self, round_uid: str, *, after: int, since: int | None = None, wait: float = 0.0) -> Listing:
        """Entries above ``after``, verified as the chain's continuation, and completions after revision ``since``.

        Waits up to ``wait`` seconds (at most 25) for something new. ``after`` is 0, or one of the last places of the round
        that this object listed, or the remembered position.

        Raises:
            BoardRewoundError: the board does not extend what this client saw of it.
        """
        wait = min(max(wait, 0.0), MAX_WAIT)
        start = Position(after, self._link(round_uid, after))
        response = self._transport.request(
            "GET",
            f"/rounds/{round_uid}/messages",
            params={"after": after, "wait": wait} | ({} if since is None else {"since": since}),
            poll=wait,
        )
        page = Page.decode(response.content)
        positions = verify_page(
            page,
            round_uid=round_uid,
            start=start,
            remembered=self._state.position(round_uid),
            hub_key=self._hub_key,
        )
        self._remember(round_uid, positions)
        if positions:
            self._state.advance(round_uid, positions[-1])
        return page.listing

    def entries(self, round_uid: str, after: int, wait: float = 0.0) -> list[Entry]:
        """Entries above ``after``; see :meth:`listing`."""
        return list(self.listing(round_uid, after=after, wait=wait).entries)

    def follow(self, round_uid: str, after: int = 0, *, wait: float = MAX_WAIT) -> Iterator[list[Entry]]:
        """Batches of entries for ever, in order; an empty one after each ``wait`` seconds without any."""
        while True:
            batch = self.entries(round_uid, after, wait)
            if batch:
                after = batch[-1].seq
            yield batch

    def _link(self, round_uid: str, after: int) -> bytes:
        if after == 0:
            return genesis(round_uid)
        remembered = self._state.position(round_uid)
        if after == remembered.seq:
            return remembered.hash
        try:
            return self._links[round_uid][after]
        except KeyError:
            raise ValueError(f"message {after} of round {round_uid} was not listed: read from 0") from None

    def _remember(self, round_uid: str, positions: Sequence[Position]) -> None:
        if not positions:
            return
        with self._links_lock:
            links = self._links.setdefault(round_uid, OrderedDict())
            for position in positions[-MOST_LINKS:]:
                links[position.seq] = position.hash
                links.move_to_end(position.seq)
            while len(links) > MOST_LINKS:
                links.popitem(last=False)

    def forget(self, round_uid: str) -> None:
        """Free what is remembered of a round that is over. Its board can be read again, from 0 and as if for the first time."""
        with self._links_lock:
            self._links.pop(round_uid, None)
        self._state.forget(round_uid)

    # Blobs

    def upload(self, round_uid: str, digest: str, data: bytes | Path) -> None:
        """Send a blob in chunks of at most 1 MiB, going on where an earlier call was cut off. Idempotent.

        Args:
            digest: its SHA-256 in hex.

        Raises:
            RefusedError: DigestMismatch when the bytes are not the digest's, or another refusal.
        """
        upload_blob(self._transport, round_uid, digest, data)

    def download(self, round_uid: str, digest: str) -> bytes:
        """A blob's bytes, verified.

        Raises:
            BlobGoneError: it was deleted after its use.
            UntrustedExchangeError: the bytes do not have the digest.
        """
        data = bytearray()
        for chunk in download_blob(self._transport, round_uid, digest):
            data += chunk
        if hashlib.sha256(data).hexdigest() != digest:
            raise UntrustedExchangeError(f"blob {digest}: the exchange sent other bytes")
        return bytes(data)

    def download_to(self, round_uid: str, digest: str, path: Path) -> None:
        """Write a blob to ``path``, which appears only when it is whole and verified; goes on after a cut.

        Raises: as :meth:`download`.
        """
        partial = path.with_name(f"{path.name}.{digest[:16]}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        start = partial.stat().st_size if partial.exists() else 0
        with partial.open("ab") as file:
            for chunk in download_blob(self._transport, round_uid, digest, start):
                file.write(chunk)
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            partial.unlink()
            raise UntrustedExchangeError(f"blob {digest}: the exchange sent other bytes")
        partial.replace(path)

    def delete_blob(self, round_uid: str, digest: str) -> None:
        """The hub removes a blob after its use; the digest stays."""
        self._transport.request("DELETE", f"/rounds/{round_uid}/blobs/{digest}")
