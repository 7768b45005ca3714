"""The tables of messages and of blobs' digests: slots, hash chain, completeness, quotas."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from fedgestalt.exchange.chain import extend, genesis
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.storage.database import Database
from fedgestalt.exchange.storage.feed import ChangeFeed
from fedgestalt.exchange.storage.values import Appended, Limits, NewMessage, Page, StoredEntry


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """What is known of a blob that was complete once."""

    length: int
    owner: str
    deleted: bool


def has_ended(db: sqlite3.Connection, round_uid: str) -> bool:
    """Whether the hub's last word in a round stands, within the caller's transaction."""
    return db.execute("SELECT 1 FROM ends WHERE round = ?", (round_uid,)).fetchone() is not None


class MessageTable:
    """Messages in slots, hash-chained per round."""

    def __init__(self, db: Database, limits: Limits, feed: ChangeFeed) -> None:
        self._db, self._limits, self._feed = db, limits, feed

    def append(self, message: NewMessage, *, now: int) -> Appended:
        """See :meth:`BoardStorage.append`."""
        with self._db.write() as db:
            row = db.execute(
                "SELECT seq, received, prev, hash, data FROM messages WHERE round = ? AND slot = ?",
                (message.round, message.slot),
            ).fetchone()
            if row is not None:
                if row[4] != message.data:
                    raise refused(Code.SLOT_TAKEN, f"slot {message.slot} of round {message.round}")
                return Appended(row[0], row[1], row[2], row[3], fresh=False)
            # Here, within the transaction: two processes of the hub may have read the same board.
            if message.decides and has_ended(db, message.round):
                raise refused(Code.ROUND_OVER, f"slot {message.slot} of round {message.round}")
            self._charge(db, message)
            seq, prev, received, revision = db.execute(
                "SELECT seq, hash, received, revision FROM rounds WHERE round = ?", (message.round,)
            ).fetchone() or (0, genesis(message.round), 0, 0)
            seq, received, revision = seq + 1, max(now, received), revision + 1
            link = extend(prev, seq, received, message.data)
            waits = self._missing(db, message)
            completed = None if waits else revision
            db.execute(
                "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(message.round, seq, message.slot, message.sender, received),
                    *(prev, link, message.data, len(waits), completed),
                ),
            )
            db.executemany(
                "INSERT INTO waits VALUES (?, ?, ?)", [(message.round, digest, seq) for digest in waits]
            )
            db.execute(
                "INSERT OR REPLACE INTO rounds VALUES (?, ?, ?, ?, ?)",
                (message.round, seq, link, received, revision),
            )
            if message.ends:
                db.execute("INSERT INTO ends VALUES (?, ?)", (message.round, seq))
            self._feed.note(db, message.round)
            return Appended(seq, received, prev, link, fresh=True)

    def page(self, round_uid: str, *, after: int, since: int | None, max_bytes: int) -> Page:
        """See :meth:`BoardStorage.page`."""
        with self._db.read() as db:
            head, revision = db.execute(
                "SELECT seq, revision FROM rounds WHERE round = ?", (round_uid,)
            ).fetchone() or (0, 0)
            entries: list[StoredEntry] = []
            size = 0
            rows = db.execute(
                "SELECT seq, received, data, missing FROM messages WHERE round = ? AND seq > ? ORDER BY seq",
                (round_uid, after),
            )
            for seq, received, data, missing in rows:
                size += len(data)
                if entries and size > max_bytes:
                    break
                entries.append(StoredEntry(seq, received, data, not missing))
            # Messages that were complete from the start are reported by the entries themselves.
            completed = db.execute(
                "SELECT seq FROM messages WHERE round = ? AND completed > ? AND seq <= ? ORDER BY seq",
                (round_uid, revision if since is None else since, after),
            ).fetchall()
            end = entries[-1].seq if entries else after
            place = db.execute(
                "SELECT seq, received, prev, hash FROM messages WHERE round = ? AND seq = ?", (round_uid, end)
            ).fetchone()
        last = None if place is None else Appended(place[0], place[1], place[2], place[3], fresh=False)
        return Page(tuple(entries), tuple(seq for (seq,) in completed), revision, head, last)

    def find(self, round_uid: str, slot: str) -> StoredEntry | None:
        """See :meth:`BoardStorage.find`."""
        with self._db.read() as db:
            row = db.execute(
                "SELECT seq, received, data, missing FROM messages WHERE round = ? AND slot = ?",
                (round_uid, slot),
            ).fetchone()
        return None if row is None else StoredEntry(row[0], row[1], row[2], not row[3])

    def blob(self, round_uid: str, digest: str) -> BlobRecord | None:
        """The record of a blob that is or was complete."""
        with self._db.read() as db:
            row = db.execute(
                "SELECT length, owner, deleted FROM blobs WHERE round = ? AND digest = ?", (round_uid, digest)
            ).fetchone()
        return None if row is None else BlobRecord(row[0], row[1], bool(row[2]))

    def add_blob(
        self, round_uid: str, digest: str, owner: str, length: int, data: bytes | None = None
    ) -> bool:
        """Record a verified blob and complete the messages that waited for it; False if it was there.

        ``data``: the bytes of a small one, which are kept beside the record.
        """
        with self._db.write() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?, 0)", (round_uid, digest, owner, length)
            ).rowcount
            if not added:
                return False
            if data is not None:
                db.execute("INSERT INTO small_blobs VALUES (?, ?, ?)", (round_uid, digest, data))
            where = "round = ? AND seq IN (SELECT seq FROM waits WHERE round = ? AND digest = ?)"
            waiting = (round_uid, round_uid, digest)
            db.execute(f"UPDATE messages SET missing = missing - 1 WHERE {where}", waiting)
            db.execute("UPDATE rounds SET revision = revision + 1 WHERE round = ?", (round_uid,))
            completed = db.execute(
                "UPDATE messages SET completed = (SELECT revision FROM rounds WHERE round = ?) "
                f"WHERE missing = 0 AND completed IS NULL AND {where}",
                (round_uid, *waiting),
            ).rowcount
            if completed:
                self._feed.note(db, round_uid)
            db.execute("DELETE FROM waits WHERE round = ? AND digest = ?", (round_uid, digest))
            return True

    def mark_deleted(self, round_uid: str, digest: str) -> None:
        """Keep a blob's digest, say that its bytes are gone."""
        with self._db.write() as db:
            db.execute("UPDATE blobs SET deleted = 1 WHERE round = ? AND digest = ?", (round_uid, digest))
            db.execute("DELETE FROM small_blobs WHERE round = ? AND digest = ?", (round_uid, digest))

    def small_blob(self, round_uid: str, digest: str, start: int, length: int) -> bytes | None:
        """Bytes of a blob that is kept beside its record; None: it is a file, or gone."""
        with self._db.read() as db:
            row = db.execute(
                "SELECT substr(data, ? + 1, ?) FROM small_blobs WHERE round = ? AND digest = ?",
                (start, length, round_uid, digest),
            ).fetchone()
        return None if row is None else bytes(row[0] or b"")  # SQLite has NULL for no bytes

    def deleted_blobs(self, round_uid: str) -> list[str]:
        """Digests of deleted blobs."""
        with self._db.read() as db:
            rows = db.execute("SELECT digest FROM blobs WHERE round = ? AND deleted", (round_uid,)).fetchall()
        return [digest for (digest,) in rows]

    def known_blobs(self) -> Iterable[tuple[str, str]]:
        """(round, digest) of every blob whose bytes should be there."""
        with self._db.read() as db:
            return db.execute("SELECT round, digest FROM blobs WHERE NOT deleted").fetchall()

    def blob_bytes(self, round_uid: str, owner: str) -> int:
        """Bytes of the owner's complete blobs."""
        with self._db.read() as db:
            row = db.execute(
                "SELECT coalesce(sum(length), 0) FROM blobs WHERE round = ? AND owner = ? AND NOT deleted",
                (round_uid, owner),
            ).fetchone()
        return int(row[0])

    def _charge(self, db: sqlite3.Connection, message: NewMessage) -> None:
        count, size = db.execute(
            "SELECT messages, message_bytes FROM usage WHERE round = ? AND owner = ?",
            (message.round, message.sender),
        ).fetchone() or (0, 0)
        count, size = count + 1, size + len(message.data)
        # A hub that has used up its quota can still end the round: nobody would hear of it otherwise.
        over = count > self._limits.messages or size > self._limits.message_bytes
        if over and not message.ends:
            raise refused(
                Code.QUOTA_EXCEEDED,
                f"{message.sender} posted {count - 1} messages in round {message.round} already; allowed are "
                f"{self._limits.messages} messages and {self._limits.message_bytes} bytes",
            )
        db.execute(
            "INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?)", (message.round, message.sender, count, size)
        )

    @staticmethod
    def _missing(db: sqlite3.Connection, message: NewMessage) -> list[str]:
        return [
            digest
            for digest in dict.fromkeys(message.blobs)
            if db.execute(
                "SELECT 1 FROM blobs WHERE round = ? AND digest = ?", (message.round, digest)
            ).fetchone()
            is None
        ]
