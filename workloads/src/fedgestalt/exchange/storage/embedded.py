"""The embedded storage: SQLite in WAL mode for messages, tasks and small blobs, files for the others, in one directory."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from fedgestalt.exchange.errors import Code, ExchangeError, refused
from fedgestalt.exchange.storage.database import Database
from fedgestalt.exchange.storage.feed import ChangeFeed
from fedgestalt.exchange.storage.files import BlobFiles
from fedgestalt.exchange.storage.messages import MessageTable
from fedgestalt.exchange.storage.releases import ReleaseTable
from fedgestalt.exchange.storage.tasks import TaskTable
from fedgestalt.exchange.storage.values import (
    MAX_CHUNK_BYTES,
    Appended,
    BlobInfo,
    BlobStatus,
    ChangeSet,
    Limits,
    NewMessage,
    NewTask,
    Page,
    StoredEntry,
    StoredRelease,
    Task,
)
from fedgestalt.files import private_directory

SMALL_BLOB_BYTES: Final = 256 * 1024
"""As large as a message: what comes in one piece and is no larger lies in the database."""


class EmbeddedStorage:
    """A :class:`BoardStorage` for one process, in ``directory`` (made with mode 0700 if absent)."""

    def __init__(self, directory: Path, limits: Limits | None = None) -> None:
        """Open or make the board.

        Raises:
            ExchangeError: another process serves it, or another version wrote it.
        """
        private_directory(directory)
        self._lock = _sole_owner(directory / "lock")
        self._limits = limits or Limits()
        self._db = Database(directory / "board.sqlite", self._limits)
        self._feed = ChangeFeed(self._db)
        self._messages = MessageTable(self._db, self._limits, self._feed)
        self._releases = ReleaseTable(self._db)
        self._tasks = TaskTable(self._db, self._feed)
        self._files = BlobFiles(directory / "rounds", self._limits)
        self._files.sweep(self._messages.known_blobs())

    def append(self, message: NewMessage, *, now: int) -> Appended:
        """See :meth:`BoardStorage.append`."""
        self._files.require_room(len(message.data))
        return self._messages.append(message, now=now)

    def page(self, round_uid: str, *, after: int, since: int | None, max_bytes: int) -> Page:
        """See :meth:`BoardStorage.page`."""
        return self._messages.page(round_uid, after=after, since=since, max_bytes=max_bytes)

    def find(self, round_uid: str, slot: str) -> StoredEntry | None:
        """See :meth:`BoardStorage.find`."""
        return self._messages.find(round_uid, slot)

    def blob_status(self, round_uid: str, digest: str, owner: str) -> BlobStatus:
        """See :meth:`BoardStorage.blob_status`."""
        known = self._messages.blob(round_uid, digest)
        if known is not None:
            return BlobStatus(offset=known.length, complete=True, deleted=known.deleted)
        return BlobStatus(offset=self._files.partial_size(round_uid, digest, owner), complete=False)

    def write_chunk(self, round_uid: str, digest: str, owner: str, offset: int, data: bytes) -> BlobStatus:
        """See :meth:`BoardStorage.write_chunk`."""
        if len(data) > MAX_CHUNK_BYTES:
            raise refused(Code.TOO_LARGE, f"a chunk of {len(data)} bytes")
        known = self._messages.blob(round_uid, digest)
        if known is not None:
            return BlobStatus(offset=known.length, complete=True, deleted=known.deleted)
        with self._files.lock(round_uid, digest, owner):
            self._require_quota(round_uid, owner, len(data))
            size = self._files.append(round_uid, digest, owner, offset, data)
        return BlobStatus(offset=size, complete=False)

    def put_blob(self, round_uid: str, digest: str, owner: str, data: bytes) -> bool:
        """See :meth:`BoardStorage.put_blob`. A small one costs a row, not a file with three fsyncs of its own."""
        if len(data) > MAX_CHUNK_BYTES:
            raise refused(Code.TOO_LARGE, f"a blob of {len(data)} bytes in one piece")
        with self._files.lock(round_uid, digest, owner):
            self._files.drop_partial(round_uid, digest, owner)
            if self._messages.blob(round_uid, digest) is not None:
                return False
            if hashlib.sha256(data).hexdigest() != digest:
                raise refused(Code.DIGEST_MISMATCH, f"{len(data)} bytes were sent as blob {digest}")
            self._require_quota(round_uid, owner, len(data))
            self._files.require_room(len(data))
            if len(data) <= SMALL_BLOB_BYTES:
                return self._messages.add_blob(round_uid, digest, owner, len(data), data)
            self._files.append(round_uid, digest, owner, 0, data)
            length = self._files.publish(round_uid, digest, owner)
            return self._messages.add_blob(round_uid, digest, owner, length)

    def complete_blob(self, round_uid: str, digest: str, owner: str) -> bool:
        """See :meth:`BoardStorage.complete_blob`."""
        with self._files.lock(round_uid, digest, owner):
            if self._messages.blob(round_uid, digest) is not None:
                self._files.drop_partial(round_uid, digest, owner)
                return False
            length = self._files.publish(round_uid, digest, owner)
            return self._messages.add_blob(round_uid, digest, owner, length)

    def blob(self, round_uid: str, digest: str) -> BlobInfo:
        """See :meth:`BoardStorage.blob`."""
        known = self._messages.blob(round_uid, digest)
        if known is None:
            raise refused(Code.BLOB_UNKNOWN, f"blob {digest} of round {round_uid}")
        if known.deleted:
            raise refused(Code.BLOB_GONE, f"blob {digest} of round {round_uid}")
        return BlobInfo(known.length, known.owner)

    def read_blob(self, round_uid: str, digest: str, start: int, length: int) -> bytes:
        """See :meth:`BoardStorage.read_blob`."""
        self.blob(round_uid, digest)
        small = self._messages.small_blob(round_uid, digest, start, length)
        if small is not None:
            return small
        try:
            return self._files.read(round_uid, digest, start, length)
        except FileNotFoundError:  # deleted between the two lines above
            raise refused(Code.BLOB_GONE, f"blob {digest} of round {round_uid}") from None

    def delete_blob(self, round_uid: str, digest: str) -> None:
        """See :meth:`BoardStorage.delete_blob`. The record goes first; see the sweep."""
        if self._messages.blob(round_uid, digest) is None:
            raise refused(Code.BLOB_UNKNOWN, f"blob {digest} of round {round_uid}")
        self._messages.mark_deleted(round_uid, digest)
        self._files.remove(round_uid, digest)

    def deleted_blobs(self, round_uid: str) -> Sequence[str]:
        """See :meth:`BoardStorage.deleted_blobs`."""
        return self._messages.deleted_blobs(round_uid)

    def changes(self, after: int) -> ChangeSet:
        """See :meth:`BoardStorage.changes`."""
        return self._feed.changes(after)

    def put_task(self, silo: str, name: str, spec: bytes, *, round_uid: str = "") -> Task:
        """See :meth:`BoardStorage.put_task`."""
        self._files.require_room(len(spec))
        return self._tasks.put(silo, name, spec, round_uid)

    def put_tasks(self, round_uid: str, tasks: Sequence[NewTask]) -> Sequence[str]:
        """See :meth:`BoardStorage.put_tasks`."""
        self._files.require_room(sum(len(task.spec) for task in tasks))
        return self._tasks.put_all(round_uid, tasks)

    def round_tasks(self, round_uid: str) -> Sequence[Task]:
        """See :meth:`BoardStorage.round_tasks`."""
        return self._tasks.of_round(round_uid)

    def task_rounds(self) -> Sequence[str]:
        """See :meth:`BoardStorage.task_rounds`."""
        return self._tasks.rounds()

    def delete_round_tasks(self, round_uid: str) -> Sequence[str]:
        """See :meth:`BoardStorage.delete_round_tasks`."""
        return self._tasks.delete_round(round_uid)

    def tasks(self, silo: str) -> tuple[tuple[Task, ...], int]:
        """See :meth:`BoardStorage.tasks`."""
        return self._tasks.all(silo)

    def put_task_status(self, silo: str, name: str, status: bytes) -> bool:
        """See :meth:`BoardStorage.put_task_status`."""
        return self._tasks.put_status(silo, name, status)

    def delete_task(self, silo: str, name: str) -> None:
        """See :meth:`BoardStorage.delete_task`."""
        self._tasks.delete(silo, name)

    def put_release(self, name: str, spec: bytes, silos: Collection[str]) -> bool:
        """See :meth:`BoardStorage.put_release`."""
        self._files.require_room(len(spec))
        return self._releases.put(name, spec, silos)

    def releases(self, silo: str | None) -> tuple[tuple[StoredRelease, ...], int]:
        """See :meth:`BoardStorage.releases`."""
        return self._releases.all(silo)

    def _require_quota(self, round_uid: str, owner: str, size: int) -> None:
        used = self._messages.blob_bytes(round_uid, owner) + self._files.partial_bytes(round_uid, owner)
        if used + size > self._limits.blob_bytes:
            raise refused(
                Code.QUOTA_EXCEEDED,
                f"{owner} holds {used} bytes of blobs of {self._limits.blob_bytes} allowed",
            )

    def close(self) -> None:
        """See :meth:`BoardStorage.close`."""
        self._db.close()
        self._lock.close()


def _sole_owner(path: Path) -> BinaryIO:
    """Hold the directory's lock: waiters are woken in memory, so two servers on one board would miss messages.

    The kernel releases it with the process, however that ends.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ExchangeError(
            f"{path.parent}: another exchange serves this board. End it first, or choose another directory."
        ) from error
    return file
