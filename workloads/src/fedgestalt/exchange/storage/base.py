"""The interface of the board's storage and the values that cross it.

Every method is synchronous and safe to call from several threads; the server calls them off its event loop.
What a method reports as stored survives a power cut. Refusals are :class:`RefusedError` with a stable code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

MIB: Final = 1 << 20
MAX_CHUNK_BYTES: Final = MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Quotas of one sender in one round, and the room kept free on the disk.

    Attributes:
        messages: number of messages.
        message_bytes: their envelopes' bytes.
        blob_bytes: bytes of complete and half-sent blobs; deleted ones count no more.
        reserve_bytes: free disk space below which the board is full.
        retry_after: seconds that a sender is told to wait when the board is full.
    """

    messages: int = 50_000
    message_bytes: int = 256 * MIB
    blob_bytes: int = 64 * 1024 * MIB
    reserve_bytes: int = 256 * MIB
    retry_after: float = 15.0


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A verified message on its way into its slot.

    Attributes:
        round: uid of the round.
        slot: the slot's canonical text; equal slots have equal texts.
        sender: whose quota it counts against.
        data: the envelope.
        blobs: digests (hex) that must exist for it to be complete.
    """

    round: str
    slot: str
    sender: str
    data: bytes
    blobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a message stands. ``fresh`` is False when the same bytes stood there before."""

    seq: int
    received: int
    prev: bytes
    hash: bytes
    fresh: bool


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A message of the board; ``received`` in milliseconds since the Unix epoch."""

    seq: int
    received: int
    data: bytes
    complete: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a round's board.

    Attributes:
        entries: messages after the asked sequence number, in order, as many as fit.
        completed: sequence numbers of messages that became complete after the asked revision.
        revision: grows with every message and every completion; ask for changes since it.
        head: the last sequence number of the round, 0 if there is none.
        last: the place of the last of ``entries``, or without entries of message ``after``, if there is one.
    """

    entries: tuple[StoredEntry, ...]
    completed: tuple[int, ...]
    revision: int
    head: int
    last: Appended | None


@dataclass(frozen=True, slots=True)
class BlobStatus:
    """How far one owner's upload of a blob is.

    Attributes:
        offset: bytes that are there; the length once complete.
        complete: verified and kept, or deleted after its use.
        deleted: only the digest is left.
    """

    offset: int
    complete: bool
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A complete blob: bytes, and who sent it."""

    length: int
    owner: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a silo: a JSON document of the hub and one of the silo, opaque to the exchange."""

    silo: str
    name: str
    spec: bytes
    status: bytes
    revision: int
    """Grows over all tasks with every change of a spec or a deletion."""


class BoardStorage(Protocol):
    """Append-only messages in slots, hash-chained per round; blobs by digest; tasks."""

    def append(self, message: NewMessage, *, now: int) -> Appended:
        """Put a message into its slot; the same bytes again give the same place.

        ``now`` is milliseconds since the Unix epoch; the stored time never decreases within a round.

        Raises:
            RefusedError: SlotTaken, QuotaExceeded or BoardFull.
        """
        ...

    def page(self, round_uid: str, *, after: int, since: int | None, max_bytes: int) -> Page:
        """Messages above ``after`` (at least one if there is one, then up to ``max_bytes``), and which
        messages up to ``after`` became complete after revision ``since`` (None: nobody asks)."""
        ...

    def find(self, round_uid: str, slot: str) -> StoredEntry | None:
        """The message of a slot."""
        ...

    def blob_status(self, round_uid: str, digest: str, owner: str) -> BlobStatus:
        """How far ``owner`` is with the upload of ``digest`` (64 hex digits)."""
        ...

    def write_chunk(self, round_uid: str, digest: str, owner: str, offset: int, data: bytes) -> BlobStatus:
        """Add a chunk at the end of an upload.

        An upload is private to its owner until the digest was checked, so that nobody can spoil another's.

        Raises:
            RefusedError: OffsetMismatch (with the right offset), TooLarge, QuotaExceeded or BoardFull.
        """
        ...

    def complete_blob(self, round_uid: str, digest: str, owner: str) -> bool:
        """Verify and publish an upload; False if the blob was complete before. Idempotent.

        Raises:
            RefusedError: DigestMismatch (the upload is dropped), BlobUnknown (nothing was sent) or BoardFull.
        """
        ...

    def blob(self, round_uid: str, digest: str) -> BlobInfo:
        """Length and owner of a complete blob.

        Raises:
            RefusedError: BlobUnknown or BlobGone.
        """
        ...

    def read_blob(self, round_uid: str, digest: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start`` of a complete blob.

        Raises:
            RefusedError: BlobUnknown or BlobGone.
        """
        ...

    def delete_blob(self, round_uid: str, digest: str) -> None:
        """Remove a blob's bytes; its digest stays, and messages that were complete stay so. Idempotent.

        Raises:
            RefusedError: BlobUnknown: there was never a complete blob of this digest.
        """
        ...

    def deleted_blobs(self, round_uid: str) -> Sequence[str]:
        """Digests of the round's deleted blobs."""
        ...

    def put_task(self, silo: str, name: str, spec: bytes) -> Task:
        """Create a task or change its spec; the same spec again changes nothing."""
        ...

    def tasks(self, silo: str) -> tuple[tuple[Task, ...], int]:
        """The silo's tasks by name, and the revision of the silo's list."""
        ...

    def put_task_status(self, silo: str, name: str, status: bytes) -> None:
        """Store what the silo says of a task.

        Raises:
            RefusedError: TaskUnknown.
        """
        ...

    def delete_task(self, silo: str, name: str) -> None:
        """Remove a task; its absence is no error."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
