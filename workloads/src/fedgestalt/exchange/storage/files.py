"""Blobs as files: half-sent ones per owner, complete ones by digest.

rounds/<round>/sending/<owner>/<digest>     grows chunk by chunk
rounds/<round>/blobs/<digest>               verified, synced, renamed into place
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fedgestalt.exchange.errors import Code, RefusedError, refused
from fedgestalt.exchange.storage.values import Limits
from fedgestalt.files import private_directory

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class BlobFiles:
    """The files below ``directory``. Names (round, owner, digest) were checked by the server's routes."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._directory = private_directory(directory)
        self._limits = limits
        # A fixed number, shared by chance: one for each upload would stay for ever.
        self._locks = [threading.Lock() for _ in range(256)]

    @contextmanager
    def lock(self, round_uid: str, digest: str, owner: str) -> Iterator[None]:
        """One writer at a time for one upload."""
        with self._locks[hash((round_uid, digest, owner)) % len(self._locks)]:
            yield

    def require_room(self, size: int) -> None:
        """Refuse (BoardFull) unless ``size`` bytes fit beside the reserve."""
        if shutil.disk_usage(self._directory).free < size + self._limits.reserve_bytes:
            raise self._full()

    def partial_size(self, round_uid: str, digest: str, owner: str) -> int:
        """Bytes of an upload so far."""
        try:
            return self._sending(round_uid, digest, owner).stat().st_size
        except FileNotFoundError:
            return 0

    def partial_bytes(self, round_uid: str, owner: str) -> int:
        """Bytes of all uploads of the owner that are under way."""
        try:
            with os.scandir(self._directory / round_uid / "sending" / owner) as files:
                return sum(file.stat().st_size for file in files)
        except FileNotFoundError:
            return 0

    def append(self, round_uid: str, digest: str, owner: str, offset: int, data: bytes) -> int:
        """Write a chunk at ``offset``, which must be the end; return the new size.

        Nothing is synced here: what a power cut takes from a half-sent file shows when the digest is checked.
        """
        size = self.partial_size(round_uid, digest, owner)
        if offset != size:
            raise refused(
                Code.OFFSET_MISMATCH, f"a chunk for offset {offset}, the upload ends at {size}", offset=size
            )
        self.require_room(len(data))
        path = self._sending(round_uid, digest, owner)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with path.open("ab") as file:
                file.write(data)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            if path.exists():
                os.truncate(path, size)
            raise self._full() from error
        return size + len(data)

    def publish(self, round_uid: str, digest: str, owner: str) -> int:
        """Check the digest of an upload, sync it and move it into place; return its length."""
        path = self._sending(round_uid, digest, owner)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                length = file.tell()
                if found != digest:
                    path.unlink()
                    raise refused(Code.DIGEST_MISMATCH, f"{length} bytes were sent as blob {digest}")
                os.fsync(file.fileno())
        except FileNotFoundError:
            raise refused(Code.BLOB_UNKNOWN, f"nothing was sent of blob {digest}") from None
        target = self._blob(round_uid, digest)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.replace(target)
        _sync_directory(target.parent)
        _sync_directory(target.parent.parent)
        return length

    def drop_partial(self, round_uid: str, digest: str, owner: str) -> None:
        """Forget an upload, for example because another owner completed the same blob."""
        self._sending(round_uid, digest, owner).unlink(missing_ok=True)

    def read(self, round_uid: str, digest: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start``."""
        with self._blob(round_uid, digest).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def remove(self, round_uid: str, digest: str) -> None:
        """Delete a blob's bytes."""
        self._blob(round_uid, digest).unlink(missing_ok=True)

    def sweep(self, known: Iterable[tuple[str, str]]) -> None:
        """Remove files without a record: published or deleted right before a crash; senders begin anew."""
        keep = set(known)
        for path in self._directory.glob("*/blobs/*"):
            if (path.parent.parent.name, path.name) not in keep:
                path.unlink()

    def _full(self) -> RefusedError:
        return refused(
            Code.BOARD_FULL, "the disk has no room for the data", retry_after=self._limits.retry_after
        )

    def _sending(self, round_uid: str, digest: str, owner: str) -> Path:
        return self._directory / round_uid / "sending" / owner / digest

    def _blob(self, round_uid: str, digest: str) -> Path:
        return self._directory / round_uid / "blobs" / digest


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
