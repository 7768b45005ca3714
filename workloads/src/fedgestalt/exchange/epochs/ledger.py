"""The budget of a silo in an epoch: counted in the transaction that stores what it is counted for."""

from __future__ import annotations

import sqlite3
from typing import Final

from fedgestalt.exchange.epochs.values import Budget
from fedgestalt.exchange.errors import Code, RefusedError, refused

#: Seconds in which the same question with the same key is the same question: a client's retries, not an archive.
REPEAT: Final = 600.0


def budget(db: sqlite3.Connection, epoch: str) -> Budget:
    """What each silo may spend in an epoch that is there."""
    row = db.execute("SELECT row_budget, query_budget FROM epochs WHERE epoch = ?", (epoch,)).fetchone()
    if row is None:
        raise absent(db, epoch)
    return Budget(*row)


def ended(db: sqlite3.Connection, epoch: str) -> str | None:
    """The release (hex) that succeeds an epoch which was rotated; None for one that was not."""
    row = db.execute("SELECT successor FROM ended WHERE epoch = ?", (epoch,)).fetchone()
    return None if row is None else str(row[0])


def absent(db: sqlite3.Connection, epoch: str) -> RefusedError:
    """Why an epoch that is not there is not: it was rotated, or it is unknown."""
    successor = ended(db, epoch)
    if successor is None:
        return refused(Code.EPOCH_UNKNOWN, f"epoch {epoch}")
    detail = f"epoch {epoch[:16]} was rotated: release {successor} succeeds it"
    return refused(Code.EPOCH_ENDED, detail, successor=successor)


def spent(db: sqlite3.Connection, epoch: str, silo: str) -> Budget:
    """What a silo has spent."""
    found = db.execute(
        "SELECT rows, queries FROM ledger WHERE epoch = ? AND silo = ?", (epoch, silo)
    ).fetchone()
    return Budget(*found) if found else Budget(0, 0)


def charge(db: sqlite3.Connection, epoch: str, silo: str, *, rows: int, queries: int = 0) -> Budget:
    """Count rows and queries and return what is left.

    Raises:
        RefusedError: EpochUnknown, EpochEnded, or BudgetSpent if they are more than what is left.
    """
    limit, before = budget(db, epoch), spent(db, epoch, silo)
    left = Budget(limit.rows - before.rows - rows, limit.queries - before.queries - queries)
    if (rows and left.rows < 0) or (queries and left.queries < 0):
        raise refused(
            Code.BUDGET_SPENT,
            f"silo {silo!r} has spent {before.rows} of {limit.rows} rows and {before.queries} of {limit.queries} "
            f"queries of epoch {epoch[:16]}; {rows} more rows were asked for",
        )
    if rows or queries:
        db.execute(
            "INSERT INTO ledger VALUES (?, ?, ?, ?) ON CONFLICT (epoch, silo) DO UPDATE "
            "SET rows = rows + excluded.rows, queries = queries + excluded.queries",
            (epoch, silo, rows, queries),
        )
    return Budget(max(left.rows, 0), max(left.queries, 0))


def charge_query(db: sqlite3.Connection, epoch: str, silo: str, tag: bytes, *, now: float) -> Budget:
    """Count one query, once for its tag within ten minutes, and return what is left.

    Args:
        tag: says whether two queries are one that was sent twice (`service.query_tag`).
        now: seconds since the Unix epoch.

    Raises:
        RefusedError: EpochUnknown, EpochEnded or BudgetSpent.
    """
    db.execute(
        "DELETE FROM asked WHERE epoch = ? AND silo = ? AND (at < ? OR at > ?)",
        (epoch, silo, now - REPEAT, now + REPEAT),
    )
    fresh = db.execute("INSERT OR IGNORE INTO asked VALUES (?, ?, ?, ?)", (epoch, silo, tag, now)).rowcount
    return charge(db, epoch, silo, rows=int(bool(fresh)), queries=int(bool(fresh)))
