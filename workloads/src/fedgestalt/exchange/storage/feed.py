"""The change feed: which rounds changed after a revision, in time that grows with the changes only.

A revision is a tag of the process that gave it out, drawn at random, and a counter that never falls. A database
that was set back to an earlier copy is opened by a process with a tag of its own, so that no number which the lost
stretch gave out can be taken for one of the new stretch.
"""

from __future__ import annotations

import secrets
import sqlite3
from typing import Final

from fedgestalt.exchange.storage.database import Database
from fedgestalt.exchange.storage.values import ChangeSet

COUNTER_BITS: Final = 40
TAG_BITS: Final = 22
MOST: Final = 4096
"""Rounds that one answer lists at most; beyond, looking at everything is as good."""
_KEPT_OPENINGS: Final = 256


def new_tag() -> int:
    """A tag that is not 0, so that 0 is never a revision."""
    return 1 + secrets.randbelow((1 << TAG_BITS) - 1)


class ChangeFeed:
    """One counter over all rounds; each round has the counter of its last change."""

    def __init__(self, db: Database) -> None:
        self._db, self._tag = db, new_tag()
        with db.write() as connection:
            last = _last(connection)
            connection.execute("DELETE FROM feed_openings WHERE tag = ?", (self._tag,))
            connection.execute("INSERT INTO feed_openings (tag, first) VALUES (?, ?)", (self._tag, last))
            connection.execute(
                "DELETE FROM feed_openings WHERE number <= (SELECT max(number) FROM feed_openings) - ?",
                (_KEPT_OPENINGS,),
            )

    def note(self, connection: sqlite3.Connection, round_uid: str) -> int:
        """Say within a transaction that a round changed; returns the revision, which no other change has."""
        counter = _last(connection) + 1
        connection.execute("INSERT OR REPLACE INTO changes VALUES (?, ?)", (round_uid, counter))
        return self._tag << COUNTER_BITS | counter

    def changes(self, after: int) -> ChangeSet:
        """See :meth:`BoardStorage.changes`."""
        tag, counter = after >> COUNTER_BITS, after & ((1 << COUNTER_BITS) - 1)
        with self._db.read() as connection:
            last = _last(connection)
            revision = self._tag << COUNTER_BITS | last
            if not _given(connection, tag, counter, last):
                return ChangeSet((), revision, everything=True)
            rows = connection.execute(
                "SELECT round FROM changes WHERE counter > ? LIMIT ?", (counter, MOST + 1)
            ).fetchall()
        if len(rows) > MOST:
            return ChangeSet((), revision, everything=True)
        return ChangeSet(tuple(uid for (uid,) in rows), revision)


def _last(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT coalesce(max(counter), 0) FROM changes").fetchone()
    return int(last)


def _given(connection: sqlite3.Connection, tag: int, counter: int, last: int) -> bool:
    """Whether the process of ``tag`` gave out ``counter``, as far as this database knows."""
    row = connection.execute("SELECT number, first FROM feed_openings WHERE tag = ?", (tag,)).fetchone()
    if row is None:
        return False
    number, first = row
    (end,) = connection.execute(
        "SELECT coalesce(min(first), ?) FROM feed_openings WHERE number > ?", (last, number)
    ).fetchone()
    return bool(first <= counter <= end)
