"""The site's ledger: which round runs under which grant, and how often each grant was used. One SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RESERVED_SECONDS: Final = 7 * 86400
"""So long a round that was let in may take to enrol: no longer than the delegation that it enrols with is valid."""


class LedgerUnreadableError(Exception):
    """The ledger cannot be read, so nobody knows how often a grant was used; the message names the file."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A round that was let in: under which grant (key and name), and the digest of its computation (32 bytes)."""

    grant: str
    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """Uses of a grant: counted ones, and the Unix time of the last; None before the first."""

    name: str
    used: int
    last_used: float | None


class GrantLedger:
    """Counts enrolments once per handshake hash h; on the disk before a method returns. Safe for threads.

    A round is let in before there is an h, so it holds its use from then on: two rounds that enrol at the same time cannot
    both get the last one. Grants are named by keys that a deleted and newly created grant does not share.
    """

    def __init__(self, path: Path) -> None:
        """Every method raises LedgerUnreadableError while the file is damaged or cannot be opened."""
        self._lock = threading.Lock()
        self._path = path
        self._db: sqlite3.Connection | None = None

    def admit(self, round_uid: str, digest: bytes, grant: str, name: str, now: float) -> None:
        """Let a round in under a grant. Another grant for the same round replaces the one before."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO rounds VALUES (?, ?, ?, ?, ?)", (round_uid, digest, grant, name, now)
            )

    def admission(self, round_uid: str) -> Admission | None:
        """Under which grant a round runs; None if it was not let in, or is over."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT grant_key, name, digest FROM rounds WHERE round = ?", (round_uid,)
            ).fetchone()
        return None if row is None else Admission(*row)

    def used(self, grant: str, now: float, *, apart_from: str = "") -> int:
        """Uses that are counted or held, those of the round ``apart_from`` left out."""
        with self._transaction() as db:
            return _used(db, grant, now, apart_from)

    def count(self, h: bytes, round_uid: str, now: float, *, most: int | None) -> bool:
        """Count the enrolment with handshake hash ``h``, once, under the grant that its round was let in with.

        Args:
            most: uses that the grant allows; None: any number.

        Returns:
            False: not counted, since the round was not let in or the uses are spent.
        """
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM uses WHERE h = ?", (h,)).fetchone():
                return True
            row = db.execute("SELECT grant_key, name FROM rounds WHERE round = ?", (round_uid,)).fetchone()
            if row is None:
                return False
            grant, name = row
            (own,) = db.execute(
                "SELECT count(*) FROM uses WHERE grant_key = ? AND round = ?", (grant, round_uid)
            ).fetchone()
            if most is not None and own + _used(db, grant, now, round_uid) >= most:
                return False
            db.execute("INSERT INTO uses VALUES (?, ?, ?, ?, ?)", (h, round_uid, grant, name, now))
            return True

    def counted_at(self, round_uid: str) -> float | None:
        """When the round's last enrolment was counted (Unix time); None before."""
        with self._transaction() as db:
            (at,) = db.execute("SELECT max(at) FROM uses WHERE round = ?", (round_uid,)).fetchone()
        return None if at is None else float(at)

    def close_round(self, round_uid: str) -> None:
        """The round is over: a use that it held and did not need is free again."""
        with self._transaction() as db:
            db.execute("DELETE FROM rounds WHERE round = ?", (round_uid,))

    def usages(self) -> dict[str, Usage]:
        """Counted uses by the grant's key."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT grant_key, max(name), count(*), max(at) FROM uses GROUP BY grant_key ORDER BY 1"
            ).fetchall()
        return {key: Usage(name, used, at) for key, name, used, at in rows}

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._db is None:
                    self._db = _open(self._path)
                db = self._db
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                except BaseException:
                    db.execute("ROLLBACK")
                    raise
                db.execute("COMMIT")
            except (OSError, sqlite3.Error) as error:
                raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> LedgerUnreadableError:
        return LedgerUnreadableError(
            f"{self._path}: the ledger of grants cannot be used ({error}). Nothing new runs without it: make room or "
            "put the file back from a backup."
        )


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite's journals take over this mode
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(_TABLES)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _used(db: sqlite3.Connection, grant: str, now: float, apart_from: str) -> int:
    (counted,) = db.execute(
        "SELECT count(*) FROM uses WHERE grant_key = ? AND round != ?", (grant, apart_from)
    ).fetchone()
    (held,) = db.execute(
        "SELECT count(*) FROM rounds WHERE grant_key = ? AND round != ? AND at > ? "
        "AND round NOT IN (SELECT round FROM uses)",
        (grant, apart_from, now - RESERVED_SECONDS),
    ).fetchone()
    return int(counted) + int(held)


_TABLES: Final = """
CREATE TABLE IF NOT EXISTS rounds (
    round TEXT PRIMARY KEY, digest BLOB NOT NULL, grant_key TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uses (
    h BLOB PRIMARY KEY, round TEXT NOT NULL, grant_key TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uses_by_grant ON uses (grant_key);
"""
