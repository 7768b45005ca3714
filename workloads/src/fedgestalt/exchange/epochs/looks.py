"""Looks for clusters: of which rows one was made, whether another is due, and what a case that goes takes with it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from fedgestalt.exchange.epochs import letters


def begin(db: sqlite3.Connection, epoch: str) -> int:
    """Note that somebody looks, before the rows are read; return how often cases have been taken out so far.

    One that never ends, because its process was killed, is due at once.
    """
    db.execute(
        "INSERT INTO looks VALUES (?, 0, -1) ON CONFLICT (epoch) DO UPDATE SET seen = coalesce(seen, -1)",
        (epoch,),
    )
    (removals,) = db.execute("SELECT removals FROM looks WHERE epoch = ?", (epoch,)).fetchone()
    return int(removals)


def end(db: sqlite3.Connection, epoch: str, removals: int) -> bool:
    """Note what a look has seen; False if cases were taken out since it began: it must not be kept then."""
    done = db.execute(
        "UPDATE looks SET seen = removals WHERE epoch = ? AND removals = ?", (epoch, removals)
    ).rowcount
    return bool(done)


def due(db: sqlite3.Connection, epoch: str) -> bool:
    """Whether cases were taken out since the last look. An epoch that nobody has looked at is not due for another."""
    sql = "SELECT 1 FROM looks WHERE epoch = ? AND seen < removals"
    return db.execute(sql, (epoch,)).fetchone() is not None


def take_out(
    db: sqlite3.Connection, epoch: str, owner: str, handles: Collection[bytes] | None = None
) -> None:
    """Forget the clusters that cases of an owner are in (all of its cases, if none are named), letters with them.

    A cluster stands on all of its cases, and so do the findings of its other owners. Other clusters stay until the next
    look: their owners may be in the midst of writing to each other.
    """
    db.execute(
        "INSERT INTO looks VALUES (?, 1, NULL) ON CONFLICT (epoch) DO UPDATE SET removals = removals + 1",
        (epoch,),
    )
    gone = None if handles is None else {handle.hex() for handle in handles}
    told = db.execute(
        "SELECT place, told FROM findings WHERE epoch = ? AND owner = ?", (epoch, owner)
    ).fetchall()
    for place, text in told:
        finding = json.loads(text)
        if gone is not None and gone.isdisjoint(finding["mine"]):
            continue
        named = (epoch, owner, bytes.fromhex(finding["handle"]))
        db.execute(
            "DELETE FROM clusters WHERE epoch = ?1 AND cluster IN "
            "(SELECT cluster FROM clusters WHERE epoch = ?1 AND owner = ?2 AND handle = ?3)",
            named,
        )
        db.execute("DELETE FROM findings WHERE epoch = ? AND place = ?", (epoch, place))
    letters.forget_others(db, epoch)
