"""One SQLite file: a writing and a reading connection, so that readers do not wait for a writer's fsync."""

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
CREATE INDEX IF NOT EXISTS completions ON messages (round, completed);
CREATE TABLE IF NOT EXISTS waits (
    round TEXT NOT NULL, digest TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (round, digest, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (
    round TEXT NOT NULL, digest TEXT NOT NULL, owner TEXT NOT NULL, length INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (round, digest)
) WITHOUT ROWID;
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


class Database:
    """``synchronous=FULL``: a committed transaction is on the disk."""

    def __init__(self, path: Path, limits: Limits) -> None:
        # SQLite gives the journal files the mode of the database, so the file is made private first.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._limits = limits
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._writer = self._connect(path)
        self._writer.execute("PRAGMA journal_mode=WAL")
        self._writer.execute("PRAGMA synchronous=FULL")
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
        """A transaction that commits at the end, or rolls back on any error.

        Raises:
            RefusedError: BoardFull, when the disk has no room for it.
        """
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode in _FULL:
                    raise refused(
                        Code.BOARD_FULL,
                        "the disk has no room for the message",
                        retry_after=self._limits.retry_after,
                    ) from error
                raise

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
