"""The hash chain of a round's board, receipts, and what a client remembers of the chain.

Source: docs/reference/protocol.md, section Encoding.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from fedgestalt.crypto.encoding import decode, encode
from fedgestalt.crypto.errors import EncodingError, SignatureError
from fedgestalt.crypto.keys import SigningKey, verify_signature
from fedgestalt.exchange.errors import PositionDamagedError, UntrustedExchangeError
from fedgestalt.files import write_atomic

_CHAIN: Final = b"fedgestalt/chain/v1"
_RECEIPT: Final = b"fedgestalt/receipt/v1"
_RECEIPT_LIMIT: Final = 1024
_LOCKS: Final = 64


def genesis(round_uid: str) -> bytes:
    """``hash_0`` of a round, 32 bytes."""
    return hashlib.sha256(_CHAIN + round_uid.encode()).digest()


def extend(previous: bytes, seq: int, received: int, envelope: bytes) -> bytes:
    """``hash_k`` after ``envelope`` as message ``seq`` (from 1), received at that Unix millisecond."""
    message = hashlib.sha256(envelope).digest()
    return hashlib.sha256(
        _CHAIN + previous + seq.to_bytes(8, "big") + received.to_bytes(8, "big") + message
    ).digest()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The hub's word that a message stands on the board.

    Attributes:
        round: uid of the round.
        seq: place on the board, from 1.
        received: milliseconds since the Unix epoch by the exchange's clock, never decreasing in a round.
        prev: chain hash before the message, 32 bytes.
        hash: chain hash with the message, 32 bytes.
        signature: the hub's Ed25519 signature, 64 bytes.
    """

    round: str
    seq: int
    received: int
    prev: bytes
    hash: bytes
    signature: bytes = b""

    def statement(self) -> bytes:
        """The signed bytes."""
        return _RECEIPT + encode([self.round, self.seq, self.received, self.prev, self.hash])

    def signed(self, key: SigningKey) -> Receipt:
        """The same receipt with the hub's signature."""
        return Receipt(self.round, self.seq, self.received, self.prev, self.hash, key.sign(self.statement()))

    def encode(self) -> bytes:
        """The bytes that travel."""
        return encode([self.round, self.seq, self.received, self.prev, self.hash, self.signature])

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """Read a receipt; the signature is not checked here.

        Raises:
            UntrustedExchangeError: malformed.
        """
        try:
            fields = decode(data, limit=_RECEIPT_LIMIT)
        except EncodingError as error:
            raise UntrustedExchangeError(f"the exchange's receipt is malformed: {error}") from error
        expected = [str, int, int, bytes, bytes, bytes]
        if type(fields) is not list or [type(field) for field in fields] != expected:
            raise UntrustedExchangeError("the exchange's receipt lacks a field or has one of another type")
        return cls(*fields)

    def check(self, hub_key: bytes, round_uid: str, envelope: bytes) -> None:
        """Check the receipt of ``envelope`` against the pinned hub key (32 bytes).

        Raises:
            UntrustedExchangeError: it is for another message or round, or not signed by that key.
        """
        if self.round != round_uid or self.hash != extend(self.prev, self.seq, self.received, envelope):
            raise UntrustedExchangeError("the exchange's receipt is not for the message that was sent")
        self.check_signature(hub_key)

    def check_signature(self, hub_key: bytes) -> None:
        """Check that the pinned hub key signed this receipt.

        Raises:
            UntrustedExchangeError: it did not.
        """
        try:
            verify_signature(hub_key, self.signature, self.statement())
        except SignatureError as error:
            raise UntrustedExchangeError(
                "the receipt is not signed by the pinned hub key: compare the hub's fingerprint"
            ) from error


@dataclass(frozen=True, slots=True)
class Position:
    """The last entry that a client verified: sequence number (0: none) and chain hash."""

    seq: int
    hash: bytes


class ChainState(Protocol):
    """What a client remembers of each round's chain, durable before :meth:`advance` returns."""

    def position(self, round_uid: str) -> Position:
        """The furthest verified position; ``Position(0, genesis)`` for a round never seen."""
        ...

    def advance(self, round_uid: str, position: Position) -> None:
        """Remember a further position."""
        ...

    def forget(self, round_uid: str) -> None:
        """The round is over and its board will not be read again."""
        ...


class FileChainState:
    """A :class:`ChainState` in one JSON file per round, synced at each advance; safe for threads.

    Rounds do not wait for each other's disk: each has its own of a fixed number of locks.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, Position] = {}
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def position(self, round_uid: str) -> Position:
        """The furthest verified position of the round.

        Raises:
            PositionDamagedError: the file is damaged; it says what to do.
        """
        with self._lock(round_uid):
            return self._position(round_uid)

    def advance(self, round_uid: str, position: Position) -> None:
        """Write the new position down; an older one is ignored."""
        with self._lock(round_uid):
            if position.seq <= self._position(round_uid).seq:
                return
            content = {"round": round_uid, "seq": position.seq, "hash": position.hash.hex()}
            write_atomic(self._path(round_uid), json.dumps(content).encode())
            self._known[round_uid] = position

    def forget(self, round_uid: str) -> None:
        """Remove what is remembered of a round, its file too."""
        with self._lock(round_uid):
            self._known.pop(round_uid, None)
            self._path(round_uid).unlink(missing_ok=True)

    def _lock(self, round_uid: str) -> threading.Lock:
        return self._locks[hash(round_uid) % _LOCKS]

    def _position(self, round_uid: str) -> Position:
        if round_uid not in self._known:
            self._known[round_uid] = self._read(round_uid)
        return self._known[round_uid]

    def _path(self, round_uid: str) -> Path:
        # The uid comes from outside: its digest is a safe file name whatever it holds.
        return self._directory / f"{hashlib.sha256(round_uid.encode()).hexdigest()[:32]}.json"

    def _read(self, round_uid: str) -> Position:
        path = self._path(round_uid)
        if not path.exists():
            return Position(0, genesis(round_uid))
        try:
            content = json.loads(path.read_text())
            return Position(int(content["seq"]), bytes.fromhex(content["hash"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PositionDamagedError(
                f"{path}: the remembered position on the board is damaged. Remove the file only if the round "
                "starts a new enrolment: it guards against a board that was set back."
            ) from error


class MemoryChainState:
    """A :class:`ChainState` for clients that need no memory beyond their process (stateless jobs)."""

    def __init__(self) -> None:
        self._known: dict[str, Position] = {}

    def position(self, round_uid: str) -> Position:
        """The furthest verified position of the round."""
        return self._known.get(round_uid) or Position(0, genesis(round_uid))

    def advance(self, round_uid: str, position: Position) -> None:
        """Remember a further position."""
        if position.seq > self.position(round_uid).seq:
            self._known[round_uid] = position

    def forget(self, round_uid: str) -> None:
        """Remove what is remembered of a round."""
        self._known.pop(round_uid, None)
