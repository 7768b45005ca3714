"""A board in memory: the second implementation that keeps the shared suite honest about the interface."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from fedgestalt.exchange.chain import extend, genesis
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.storage import (
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
from fedgestalt.exchange.storage.feed import COUNTER_BITS, MOST, new_tag
from fedgestalt.exchange.storage.values import MAX_CHUNK_BYTES, goes_back


@dataclass
class _Row:
    message: NewMessage
    place: Appended
    missing: set[str]
    completed: int | None


@dataclass
class _Round:
    rows: list[_Row] = field(default_factory=list)
    revision: int = 0
    blobs: dict[str, tuple[bytes | None, int, str]] = field(default_factory=dict)
    sending: dict[tuple[str, str], bytes] = field(default_factory=dict)


class MemoryStorage:
    """See :class:`fedgestalt.exchange.storage.BoardStorage`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._rounds: dict[str, _Round] = {}
        self._tasks: dict[tuple[str, str], Task] = {}
        self._task_rounds: dict[tuple[str, str], str] = {}
        self._revisions: dict[str, int] = {}
        self._start = new_tag() << COUNTER_BITS
        self._changes: list[str] = []
        self._releases: list[tuple[StoredRelease, frozenset[str]]] = []
        self._lock = threading.RLock()

    def _round(self, uid: str) -> _Round:
        return self._rounds.setdefault(uid, _Round())

    def append(self, message: NewMessage, *, now: int) -> Appended:
        with self._lock:
            board = self._round(message.round)
            for row in board.rows:
                if row.message.slot == message.slot:
                    if row.message.data != message.data:
                        raise refused(Code.SLOT_TAKEN, message.slot)
                    return replace(row.place, fresh=False)
            if message.decides and any(row.message.ends for row in board.rows):
                raise refused(Code.ROUND_OVER, message.slot)
            mine = [row.message for row in board.rows if row.message.sender == message.sender] + [message]
            size = sum(len(one.data) for one in mine)
            over = len(mine) > self._limits.messages or size > self._limits.message_bytes
            if over and not message.ends:
                raise refused(Code.QUOTA_EXCEEDED, message.sender)
            last = board.rows[-1].place if board.rows else Appended(0, 0, b"", genesis(message.round), True)
            received = max(now, last.received)
            link = extend(last.hash, last.seq + 1, received, message.data)
            place = Appended(last.seq + 1, received, last.hash, link, fresh=True)
            missing = set(message.blobs) - board.blobs.keys()
            board.revision += 1
            board.rows.append(_Row(message, place, missing, None if missing else board.revision))
            self._changes.append(message.round)
            return place

    def page(self, round_uid: str, *, after: int, since: int | None, max_bytes: int) -> Page:
        with self._lock:
            board = self._round(round_uid)
            rows: list[_Row] = []
            for row in board.rows[after:]:
                if rows and sum(len(r.message.data) for r in [*rows, row]) > max_bytes:
                    break
                rows.append(row)
            start = board.revision if since is None else since
            completed = [r.place.seq for r in board.rows[:after] if r.completed and r.completed > start]
            end = rows[-1].place.seq if rows else after
            last = board.rows[end - 1].place if 0 < end <= len(board.rows) else None
            entries = tuple(_stored(row) for row in rows)
            shown = None if last is None else replace(last, fresh=False)
            return Page(entries, tuple(completed), board.revision, len(board.rows), shown)

    def find(self, round_uid: str, slot: str) -> StoredEntry | None:
        with self._lock:
            found = [row for row in self._round(round_uid).rows if row.message.slot == slot]
            return _stored(found[0]) if found else None

    def blob_status(self, round_uid: str, digest: str, owner: str) -> BlobStatus:
        with self._lock:
            board = self._round(round_uid)
            if digest in board.blobs:
                data, length, _ = board.blobs[digest]
                return BlobStatus(length, complete=True, deleted=data is None)
            return BlobStatus(len(board.sending.get((owner, digest), b"")), complete=False)

    def write_chunk(self, round_uid: str, digest: str, owner: str, offset: int, data: bytes) -> BlobStatus:
        if len(data) > MAX_CHUNK_BYTES:
            raise refused(Code.TOO_LARGE, digest)
        with self._lock:
            board = self._round(round_uid)
            status = self.blob_status(round_uid, digest, owner)
            if status.complete:
                return status
            used = sum(len(part) for (who, _), part in board.sending.items() if who == owner)
            used += sum(
                length for kept, length, who in board.blobs.values() if who == owner and kept is not None
            )
            if used + len(data) > self._limits.blob_bytes:
                raise refused(Code.QUOTA_EXCEEDED, owner)
            if offset != status.offset:
                raise refused(Code.OFFSET_MISMATCH, digest, offset=status.offset)
            board.sending[owner, digest] = board.sending.get((owner, digest), b"") + data
            return BlobStatus(offset + len(data), complete=False)

    def put_blob(self, round_uid: str, digest: str, owner: str, data: bytes) -> bool:
        if len(data) > MAX_CHUNK_BYTES:
            raise refused(Code.TOO_LARGE, digest)
        with self._lock:
            board = self._round(round_uid)
            board.sending.pop((owner, digest), None)
            if digest in board.blobs:
                return False
            if hashlib.sha256(data).hexdigest() != digest:
                raise refused(Code.DIGEST_MISMATCH, digest)
            self.write_chunk(round_uid, digest, owner, 0, data)
            return self.complete_blob(round_uid, digest, owner)

    def complete_blob(self, round_uid: str, digest: str, owner: str) -> bool:
        with self._lock:
            board = self._round(round_uid)
            data = board.sending.pop((owner, digest), None)
            if digest in board.blobs:
                return False
            if data is None:
                raise refused(Code.BLOB_UNKNOWN, digest)
            if hashlib.sha256(data).hexdigest() != digest:
                raise refused(Code.DIGEST_MISMATCH, digest)
            board.blobs[digest] = (data, len(data), owner)
            board.revision += 1
            for row in board.rows:
                row.missing.discard(digest)
                if not row.missing and row.completed is None:
                    row.completed = board.revision
                    self._changes.append(round_uid)
            return True

    def blob(self, round_uid: str, digest: str) -> BlobInfo:
        data, length, owner = self._blob(round_uid, digest)
        if data is None:
            raise refused(Code.BLOB_GONE, digest)
        return BlobInfo(length, owner)

    def read_blob(self, round_uid: str, digest: str, start: int, length: int) -> bytes:
        self.blob(round_uid, digest)
        return (self._blob(round_uid, digest)[0] or b"")[start : start + length]

    def delete_blob(self, round_uid: str, digest: str) -> None:
        _, length, owner = self._blob(round_uid, digest)
        self._round(round_uid).blobs[digest] = (None, length, owner)

    def deleted_blobs(self, round_uid: str) -> Sequence[str]:
        return [digest for digest, blob in self._round(round_uid).blobs.items() if blob[0] is None]

    def changes(self, after: int) -> ChangeSet:
        with self._lock:
            revision = self._start + len(self._changes)
            found = set(self._changes[max(after - self._start, 0) :])
            if not self._start <= after <= revision or len(found) > MOST:
                return ChangeSet((), revision, everything=True)
            return ChangeSet(tuple(found), revision)

    def put_task(self, silo: str, name: str, spec: bytes, *, round_uid: str = "") -> Task:
        with self._lock:
            known = self._tasks.get((silo, name))
            if known is not None and known.spec == spec:
                return known
            self._revisions[silo] = self._revisions.get(silo, 0) + 1
            task = Task(silo, name, spec, known.status if known else b"{}", self._revisions[silo])
            self._tasks[silo, name] = task
            self._task_rounds[silo, name] = round_uid
            return task

    def put_tasks(self, round_uid: str, tasks: Sequence[NewTask]) -> Sequence[str]:
        with self._lock:
            if any(row.message.ends for row in self._round(round_uid).rows):
                raise refused(Code.ROUND_OVER, round_uid)
            for task in tasks:
                known = self._tasks.get((task.silo, task.name))
                if known is not None and known.spec != task.spec:
                    raise refused(Code.TASK_TAKEN, task.name)
            fresh = [task for task in tasks if (task.silo, task.name) not in self._tasks]
            for task in fresh:
                self.put_task(task.silo, task.name, task.spec, round_uid=round_uid)
            return sorted({task.silo for task in fresh})

    def round_tasks(self, round_uid: str) -> Sequence[Task]:
        return [self._tasks[key] for key in sorted(self._tasks) if self._task_rounds[key] == round_uid]

    def task_rounds(self) -> Sequence[str]:
        return sorted({self._task_rounds[key] for key in self._tasks} - {""})

    def delete_round_tasks(self, round_uid: str) -> Sequence[str]:
        with self._lock:
            gone = self.round_tasks(round_uid)
            for task in gone:
                del self._tasks[task.silo, task.name]
            silos = sorted({task.silo for task in gone})
            for silo in silos:
                self._revisions[silo] += 1
            return silos

    def tasks(self, silo: str) -> tuple[tuple[Task, ...], int]:
        found = [task for (owner, _), task in sorted(self._tasks.items()) if owner == silo]
        known = self._revisions.get(silo, 0)
        return tuple(found), self._start + known if known else 0

    def put_task_status(self, silo: str, name: str, status: bytes) -> bool:
        known = self._tasks.get((silo, name))
        if known is None:
            raise refused(Code.TASK_UNKNOWN, name)
        if goes_back(known.status, status):
            return False
        self._tasks[silo, name] = replace(known, status=status)
        if known.status != status and self._task_rounds[silo, name]:
            self._changes.append(self._task_rounds[silo, name])
        return known.status != status

    def delete_task(self, silo: str, name: str) -> None:
        if self._tasks.pop((silo, name), None) is not None:
            self._revisions[silo] += 1

    def put_release(self, name: str, spec: bytes, silos: Collection[str]) -> bool:
        with self._lock:
            for release, _ in self._releases:
                if release.name == name:
                    if release.spec != spec:
                        raise refused(Code.RELEASE_TAKEN, name)
                    return False
            self._releases.append((StoredRelease(name, spec), frozenset(silos)))
            return True

    def releases(self, silo: str | None) -> tuple[tuple[StoredRelease, ...], int]:
        seen = [k for k, (_, silos) in enumerate(self._releases) if silo is None or silo in silos]
        found = sorted((self._releases[k][0] for k in seen), key=lambda release: release.name)
        return tuple(found), self._start + seen[-1] + 1 if seen else 0

    def close(self) -> None:
        pass

    def _blob(self, round_uid: str, digest: str) -> tuple[bytes | None, int, str]:
        try:
            return self._round(round_uid).blobs[digest]
        except KeyError:
            raise refused(Code.BLOB_UNKNOWN, digest) from None


def _stored(row: _Row) -> StoredEntry:
    return StoredEntry(row.place.seq, row.place.received, row.message.data, not row.missing)
