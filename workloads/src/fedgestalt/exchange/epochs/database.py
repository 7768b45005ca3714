"""The epochs' SQLite file. Rows live in it as well, so that a row, its count and its withdrawal are one transaction."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fedgestalt.exchange.errors import Code, ExchangeError, refused

_FORMAT: Final = 1
_RETRY_AFTER: Final = 15.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS epochs (
    epoch TEXT PRIMARY KEY, release TEXT NOT NULL, row_budget INTEGER NOT NULL, query_budget INTEGER NOT NULL,
    width INTEGER, fingerprint BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ended (
    epoch TEXT PRIMARY KEY, successor TEXT NOT NULL, since REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
    epoch TEXT NOT NULL, silo TEXT NOT NULL, identity BLOB NOT NULL, PRIMARY KEY (epoch, silo)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cases (
    epoch TEXT NOT NULL, handle BLOB NOT NULL, owner TEXT NOT NULL, token BLOB, row BLOB NOT NULL,
    PRIMARY KEY (epoch, handle)
);
CREATE INDEX IF NOT EXISTS cases_by_owner ON cases (epoch, owner, handle);
CREATE TABLE IF NOT EXISTS ingested (
    epoch TEXT NOT NULL, owner TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (epoch, owner, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger (
    epoch TEXT NOT NULL, silo TEXT NOT NULL, rows INTEGER NOT NULL, queries INTEGER NOT NULL,
    PRIMARY KEY (epoch, silo)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
    epoch TEXT NOT NULL, silo TEXT NOT NULL, tag BLOB NOT NULL, at REAL NOT NULL, PRIMARY KEY (epoch, silo, tag)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS statements (
    epoch TEXT NOT NULL, owner TEXT NOT NULL, signature BLOB NOT NULL, handles BLOB NOT NULL,
    identity BLOB NOT NULL, received REAL NOT NULL, PRIMARY KEY (epoch, owner, signature)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tombstones (
    epoch TEXT NOT NULL, owner TEXT NOT NULL, handle BLOB NOT NULL, PRIMARY KEY (epoch, owner, handle)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rotation (
    epoch TEXT NOT NULL, cause TEXT NOT NULL, silo TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (epoch, cause, silo)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS discovery (epoch TEXT PRIMARY KEY, secret BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS looks (
    epoch TEXT PRIMARY KEY, removals INTEGER NOT NULL, seen INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (
    epoch TEXT NOT NULL, owner TEXT NOT NULL, place INTEGER NOT NULL, told TEXT NOT NULL,
    PRIMARY KEY (epoch, owner, place)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clusters (
    epoch TEXT NOT NULL, owner TEXT NOT NULL, handle BLOB NOT NULL, cluster BLOB NOT NULL,
    PRIMARY KEY (epoch, owner, handle)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS letters (
    epoch TEXT NOT NULL, cluster BLOB NOT NULL, owner TEXT NOT NULL, key BLOB NOT NULL, letters BLOB NOT NULL,
    turn INTEGER NOT NULL, PRIMARY KEY (epoch, cluster, owner)
);
"""


class EpochDatabase:
    """One connection, one transaction at a time. ``synchronous=FULL``: what is committed is on the disk."""

    def __init__(self, path: Path) -> None:
        """Open or make the file (mode 0600).

        Raises:
            ExchangeError: another version wrote it.
        """
        # SQLite gives the journal files the mode of the database, so the file is made private first.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)
        self._db.execute("PRAGMA page_size=16384")  # a row of 6,144 numbers fills three
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA secure_delete=ON")  # a withdrawn row is overwritten, not only unlinked
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, _FORMAT):
            raise ExchangeError(
                f"{path}: written in format {found}, this version reads {_FORMAT}. Use its version."
            )
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version={_FORMAT}")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that commits at the end, or rolls back on any error.

        Raises:
            RefusedError: BoardFull, when the disk has no room for it.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if (
                    isinstance(error, sqlite3.OperationalError)
                    and error.sqlite_errorcode == sqlite3.SQLITE_FULL
                ):
                    text = "the disk has no room for the epoch's rows"
                    raise refused(Code.BOARD_FULL, text, retry_after=_RETRY_AFTER) from error
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view of what is committed."""
        with self._lock:
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                self._db.execute("ROLLBACK")

    def forget(self) -> None:
        """Fold the journal into the file and empty it: deleted rows are in neither any more."""
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connection, which folds the journal into the file."""
        with self._lock:
            self._db.close()
