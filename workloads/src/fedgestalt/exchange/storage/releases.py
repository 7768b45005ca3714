"""The table of releases: written once, each seen by its silos only."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.storage.database import Database
from fedgestalt.exchange.storage.feed import COUNTER_BITS, new_tag
from fedgestalt.exchange.storage.values import StoredRelease

_VISIBLE: Final = "FROM releases WHERE number IN (SELECT number FROM release_silos WHERE silo = ?)"


class ReleaseTable:
    """Releases in the order in which they came. Each has a revision; a list's is that of its newest release.

    Revisions hold a tag of the process, for the reason that :mod:`fedgestalt.exchange.storage.feed` gives.
    """

    def __init__(self, db: Database) -> None:
        self._db, self._tag = db, new_tag()

    def put(self, name: str, spec: bytes, silos: Collection[str]) -> bool:
        """See :meth:`BoardStorage.put_release`."""
        with self._db.write() as db:
            row = db.execute("SELECT spec FROM releases WHERE name = ?", (name,)).fetchone()
            if row is not None:
                if row[0] != spec:
                    raise refused(Code.RELEASE_TAKEN, f"release {name!r}")
                return False
            (number,) = db.execute("SELECT coalesce(max(number), 0) + 1 FROM releases").fetchone()
            revision = self._tag << COUNTER_BITS | number
            db.execute("INSERT INTO releases VALUES (?, ?, ?, ?)", (number, name, spec, revision))
            db.executemany(
                "INSERT INTO release_silos VALUES (?, ?)", [(silo, number) for silo in sorted(set(silos))]
            )
            return True

    def all(self, silo: str | None) -> tuple[tuple[StoredRelease, ...], int]:
        """See :meth:`BoardStorage.releases`."""
        visible, arguments = ("FROM releases", ()) if silo is None else (_VISIBLE, (silo,))
        with self._db.read() as db:
            (revision,) = db.execute(
                f"SELECT revision {visible} ORDER BY number DESC LIMIT 1", arguments
            ).fetchone() or (0,)
            rows = db.execute(f"SELECT name, spec {visible} ORDER BY name", arguments).fetchall()
        return tuple(StoredRelease(*row) for row in rows), revision
