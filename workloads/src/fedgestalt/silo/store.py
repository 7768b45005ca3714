"""The agent's durable memory: secrets, sent envelopes and the survivor ledger, in one SQLite file of mode 0600."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path


class SecretConflictError(Exception):
    """A different value was offered for a key that is written once. Its message names the key, never a value."""


class DiskStore:
    """Write-once values that are on the disk before ``put`` returns (``synchronous=FULL``).

    Implements :class:`fedgestalt.secagg.session.SecretStore`. Safe to use from several threads.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite gives the journal files the mode of the database, so the file is made private first.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        # Deleted secrets are overwritten, not merely unlinked from the tree.
        self._db.execute("PRAGMA secure_delete=ON")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
        )

    def get(self, key: str) -> bytes | None:
        """The value of ``key``, or None."""
        with self._lock:
            row = self._db.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, key: str, value: bytes) -> None:
        """Store ``value`` once; the same value again is no error, another one raises SecretConflictError."""
        with self._lock:
            row = self._db.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
            if row is not None:
                if bytes(row[0]) != value:
                    raise SecretConflictError(f"{key!r} holds another value already; it is written once")
                return
            self._db.execute("INSERT INTO entries VALUES (?, ?)", (key, value))

    def replace(self, key: str, value: bytes) -> None:
        """Store ``value``, whatever stood there: for positions and caches, not for secrets."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (key, value))

    def delete(self, prefix: str) -> None:
        """Remove every key that starts with ``prefix``."""
        with self._lock:
            self._db.execute("DELETE FROM entries WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
