"""Messages on their way to the board: durable before they are sent, and sent as the same bytes after any restart."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fedgestalt.secagg.messages import Message, Slot
from fedgestalt.silo.spool import Spool
from fedgestalt.silo.store import DiskStore


class Board(Protocol):
    """What the agent needs of the exchange's client."""

    def post(self, message: bytes) -> object:
        """Post an encoded envelope; the same bytes again are no error."""
        ...

    def upload(self, round_uid: str, digest: str, data: bytes | Path) -> None:
        """Send a blob (bytes or path) in resumable chunks."""
        ...

    def download(self, round_uid: str, digest: str) -> bytes:
        """Fetch a blob and verify its digest."""
        ...


class Outbox:
    """Posts each slot once. An envelope that was written before a crash is sent again, never made anew."""

    def __init__(self, board: Board, store: DiskStore, spool: Spool) -> None:
        self._board, self._store, self._spool = board, store, spool

    def post(self, message: Message) -> None:
        """Write ``message`` down, then post it, unless the board has it already."""
        key = _key(message.slot)
        data = self._store.get(key)
        if data is None:
            data = message.encode()
            self._store.put(key, data)
        if self._store.get(f"sent/{key}") is None:
            self._board.post(data)
            self._store.put(f"sent/{key}", b"1")

    def post_with_blobs(self, message: Message, *blobs: bytes) -> None:
        """Spool and sync ``blobs``, post the ``message`` that carries their digests, then send them.

        The order is the protocol's: what is announced exists on disk, so that it can be sent after any crash.
        """
        digests = [self._spool.add(data) for data in blobs]
        if list(message.blobs) != digests:
            raise ValueError("the message does not carry the digests of its blobs")
        self.post(message)
        for digest in digests:
            self.send_blob(message.slot.round, digest)

    def send_blob(self, round_uid: str, digest: str) -> None:
        """Send a spooled blob, unless it went out already."""
        if self._store.get(f"uploaded/{digest}") is None:
            self._board.upload(round_uid, digest, self._spool.path(digest))
            self._store.put(f"uploaded/{digest}", b"1")

    def holds(self, slot: Slot) -> bool:
        """Whether a message of ``slot`` was written down, before or after a restart."""
        return self._store.get(_key(slot)) is not None

    def resend(self, slot: Slot) -> bool:
        """Send what was written down for ``slot`` before a restart; False if nothing was."""
        data = self._store.get(_key(slot))
        if data is None:
            return False
        message = Message.decode(data)
        self.post(message)
        for digest in message.blobs:
            if self.spooled(digest):
                self.send_blob(slot.round, digest)
        return True

    def resend_with_blob(self, message: Message) -> None:
        """After a restart: post ``message`` and its blob if the spool still holds it, else leave both alone."""
        if all(self.spooled(digest) for digest in message.blobs):
            self.post(message)
            for digest in message.blobs:
                self.send_blob(message.slot.round, digest)

    def spooled(self, digest: str) -> bool:
        """Whether the blob of ``digest`` (hex) lies in the spool."""
        return self._spool.path(digest).exists()


def _key(slot: Slot) -> str:
    return f"outbox/{slot.round}/{slot.enrolment}/{slot.member}/{slot.t}/{slot.attempt}/{slot.kind}"
