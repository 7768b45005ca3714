"""One SQLite file: a writing and a reading connection, so that readers do not wait for a writer's fsync.

Writers share their fsyncs: who finds others waiting leaves the transaction open for them, and the last one commits
for all. One disk that syncs a hundred times a second then takes a thousand messages a second.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fedgestalt.exchange.errors import Code, ExchangeError, refused
from fedgestalt.exchange.storage.values import Limits

_FORMAT: Final = 2
_MOST_TOGETHER: Final = 128
_FULL: Final = frozenset({sqlite3.SQLITE_FULL})
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS rounds (
    round TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, received INTEGER NOT NULL,
    revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    round TEXT NOT NULL, seq INTEGER NOT NULL, slot TEXT NOT NULL, sender TEXT NOT NULL,
    received INTEGER NOT NULL, prev BLOB NOT NULL, hash BLOB NOT NULL, data BLOB NOT NULL,
    missing INTEGER NOT NULL, completed INTEGER,
    PRIMARY KEY (round, seq), UNIQUE (round, slot)
);
CREATE TABLE IF NOT EXISTS ends (round TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS completions ON messages (round, completed);
CREATE TABLE IF NOT EXISTS waits (
    round TEXT NOT NULL, digest TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (round, digest, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (
    round TEXT NOT NULL, digest TEXT NOT NULL, owner TEXT NOT NULL, length INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (round, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS small_blobs (
    round TEXT NOT NULL, digest TEXT NOT NULL, data BLOB NOT NULL, UNIQUE (round, digest)
);
CREATE TABLE IF NOT EXISTS usage (
    round TEXT NOT NULL, owner TEXT NOT NULL, messages INTEGER NOT NULL, message_bytes INTEGER NOT NULL,
    PRIMARY KEY (round, owner)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tasks (
    silo TEXT NOT NULL, name TEXT NOT NULL, spec BLOB NOT NULL, status BLOB NOT NULL,
    revision INTEGER NOT NULL, round TEXT NOT NULL DEFAULT '', PRIMARY KEY (silo, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS task_lists (silo TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS releases (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, spec BLOB NOT NULL, revision INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS release_silos (
    silo TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (silo, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS round_tasks ON tasks (round);
CREATE TABLE IF NOT EXISTS changes (round TEXT PRIMARY KEY, counter INTEGER NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS change_order ON changes (counter);
CREATE TABLE IF NOT EXISTS feed_openings (
    number INTEGER PRIMARY KEY AUTOINCREMENT, tag INTEGER NOT NULL UNIQUE, first INTEGER NOT NULL
);
"""
# What is done to the tables of an older format before the statements above run.
_UPGRADES: Final = {
    1: """
ALTER TABLE tasks ADD COLUMN round TEXT NOT NULL DEFAULT '';
UPDATE tasks SET round = coalesce(json_extract(CAST(spec AS TEXT), '$.roundUID'), '');
"""
}


class _Batch:
    """Writers that commit together."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.size = 0
        self.error: BaseException | None = None


class Database:
    """``synchronous=FULL``: a committed transaction is on the disk."""

    def __init__(self, path: Path, limits: Limits) -> None:
        # SQLite gives the journal files the mode of the database, so the file is made private first.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._limits = limits
        self._write_lock = threading.Lock()
        self._batch: _Batch | None = None
        self._queue_lock = threading.Lock()
        self._queued = 0
        self._read_lock = threading.Lock()
        self._writer = self._connect(path)
        self._writer.execute("PRAGMA journal_mode=WAL")
        self._writer.execute("PRAGMA synchronous=FULL")
        # What the hub deletes after its use shall not stay readable in free pages.
        self._writer.execute("PRAGMA secure_delete=ON")
        found = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, _FORMAT, *_UPGRADES):
            raise ExchangeError(
                f"{path}: written in format {found}, this version reads {_FORMAT}. Use its version."
            )
        self._writer.executescript(
            f"BEGIN IMMEDIATE; {_UPGRADES.get(found, '')} {_SCHEMA} PRAGMA user_version={_FORMAT}; COMMIT;"
        )
        self._reader = self._connect(path)
        self._reader.execute("PRAGMA query_only=ON")

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is committed at the end, or undone on any error; others may share the commit.

        Raises:
            RefusedError: BoardFull, when the disk has no room for it.
        """
        failure: BaseException | None = None
        with self._queue_lock:
            self._queued += 1
        with self._write_lock:
            with self._queue_lock:
                self._queued -= 1
            batch = self._begin()
            try:
                self._writer.execute("SAVEPOINT one")
                yield self._writer
                self._writer.execute("RELEASE one")
            except BaseException as error:
                failure = error
                self._undo(batch, error)
            # Whoever is queued blocks on this lock and on nothing else, so somebody always gets to commit.
            if batch.error is not None or not self._queued or batch.size >= _MOST_TOGETHER:
                self._end(batch)
        batch.done.wait()
        cause = failure or batch.error
        if isinstance(cause, sqlite3.OperationalError) and cause.sqlite_errorcode in _FULL:
            raise refused(
                Code.BOARD_FULL, "the disk has no room for the message", retry_after=self._limits.retry_after
            ) from cause
        if failure is not None:
            raise failure
        if batch.error is not None:
            raise sqlite3.OperationalError(f"not committed: {batch.error}") from batch.error

    def _begin(self) -> _Batch:
        if self._batch is None:
            self._writer.execute("BEGIN IMMEDIATE")
            self._batch = _Batch()
        self._batch.size += 1
        return self._batch

    def _undo(self, batch: _Batch, error: BaseException) -> None:
        """Take back what one writer did. After some errors (a full disk) SQLite has taken back the others' too."""
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK TO one")
            self._writer.execute("RELEASE one")
        else:
            batch.error = error

    def _end(self, batch: _Batch) -> None:
        self._batch = None
        try:
            if batch.error is None:
                self._writer.execute("COMMIT")
        except BaseException as error:
            batch.error = error
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        finally:
            batch.done.set()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view of what is committed."""
        with self._read_lock:
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("ROLLBACK")

    def close(self) -> None:
        """Close both connections; the last one folds the journal into the file."""
        with self._read_lock, self._write_lock:
            self._reader.close()
            self._writer.close()
