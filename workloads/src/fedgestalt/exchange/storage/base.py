"""The interface of the board's storage.

Every method is synchronous and safe to call from several threads; the server calls them off its event loop.
What a method reports as stored survives a power cut. Refusals are :class:`RefusedError` with a stable code.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from fedgestalt.exchange.storage.values import (
    Appended,
    BlobInfo,
    BlobStatus,
    ChangeSet,
    NewMessage,
    NewTask,
    Page,
    StoredEntry,
    StoredRelease,
    Task,
)


class BoardStorage(Protocol):
    """Append-only messages in slots, hash-chained per round; blobs by digest; tasks."""

    def append(self, message: NewMessage, *, now: int) -> Appended:
        """Put a message into its slot; the same bytes again give the same place.

        ``now`` is milliseconds since the Unix epoch; the stored time never decreases within a round. What ends the round
        has a place beyond the sender's quota.

        Raises:
            RefusedError: SlotTaken, RoundOver, QuotaExceeded or BoardFull.
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

    def put_blob(self, round_uid: str, digest: str, owner: str, data: bytes) -> bool:
        """Verify and publish a blob of at most 1 MiB at once; False if it was complete before. Idempotent.

        Raises:
            RefusedError: DigestMismatch, TooLarge, QuotaExceeded or BoardFull.
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

    def changes(self, after: int) -> ChangeSet:
        """Rounds with a new message, a completion or a changed status of a task after revision ``after``.

        Costs what changed since, not what there is. A revision that this storage did not give out, or gave out
        and forgot when it was set back to an earlier copy of itself, is answered with ``everything``; so is 0.
        """
        ...

    def put_task(self, silo: str, name: str, spec: bytes, *, round_uid: str = "") -> Task:
        """Create a task or change its spec; the same spec again changes nothing."""
        ...

    def put_tasks(self, round_uid: str, tasks: Sequence[NewTask]) -> Sequence[str]:
        """Create a round's tasks, all or none; those that are there with the same spec stay as they are.

        Returns:
            The silos whose lists changed, sorted.

        Raises:
            RefusedError: TaskTaken: one of the names stands for another task already; RoundOver: the hub has ended the
                round, whose tasks it may have taken back since.
        """
        ...

    def round_tasks(self, round_uid: str) -> Sequence[Task]:
        """The tasks of a round, by silo and name."""
        ...

    def task_rounds(self) -> Sequence[str]:
        """Uids of the rounds that have tasks."""
        ...

    def delete_round_tasks(self, round_uid: str) -> Sequence[str]:
        """Remove the tasks of a round; returns the silos that had some, sorted."""
        ...

    def tasks(self, silo: str) -> tuple[tuple[Task, ...], int]:
        """The silo's tasks by name, and the revision of the silo's list.

        The revision is 0 for a list that never was, and another one after each change by the hub. A storage that was set
        back does not give one out again that it lost.
        """
        ...

    def put_task_status(self, silo: str, name: str, status: bytes) -> bool:
        """Store what the silo says of a task; False if it said so before, or says that a task goes on that was over.

        Raises:
            RefusedError: TaskUnknown.
        """
        ...

    def delete_task(self, silo: str, name: str) -> None:
        """Remove a task; its absence is no error."""
        ...

    def put_release(self, name: str, spec: bytes, silos: Collection[str]) -> bool:
        """Keep a release for the silos that may see it; False if it was there with the same spec.

        Raises:
            RefusedError: ReleaseTaken: the name stands for another release.
        """
        ...

    def releases(self, silo: str | None) -> tuple[tuple[StoredRelease, ...], int]:
        """Releases that a silo may see (None: all) by name, and the revision of this list.

        The revision is 0 for an empty list and another one after each new release of the list. A storage that was
        set back does not give one out again that it lost.
        """
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
