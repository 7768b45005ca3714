"""The table of tasks: what the hub wants of a silo, and what the silo says of it."""

from __future__ import annotations

import sqlite3

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.storage.base import Task
from fedgestalt.exchange.storage.database import Database


class TaskTable:
    """Tasks by silo and name; each silo's list has a revision that grows with every change by the hub."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, silo: str, name: str, spec: bytes) -> Task:
        """See :meth:`BoardStorage.put_task`."""
        with self._db.write() as db:
            row = db.execute(
                "SELECT spec, status, revision FROM tasks WHERE silo = ? AND name = ?", (silo, name)
            ).fetchone()
            if row is not None and row[0] == spec:
                return Task(silo, name, *row)
            status = b"{}" if row is None else row[1]
            revision = _advance(db, silo)
            db.execute(
                "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?)", (silo, name, spec, status, revision)
            )
            return Task(silo, name, spec, status, revision)

    def all(self, silo: str) -> tuple[tuple[Task, ...], int]:
        """See :meth:`BoardStorage.tasks`."""
        with self._db.read() as db:
            (revision,) = db.execute(
                "SELECT revision FROM task_lists WHERE silo = ?", (silo,)
            ).fetchone() or (0,)
            rows = db.execute(
                "SELECT name, spec, status, revision FROM tasks WHERE silo = ? ORDER BY name", (silo,)
            ).fetchall()
        return tuple(Task(silo, *row) for row in rows), revision

    def put_status(self, silo: str, name: str, status: bytes) -> None:
        """See :meth:`BoardStorage.put_task_status`."""
        with self._db.write() as db:
            changed = db.execute(
                "UPDATE tasks SET status = ? WHERE silo = ? AND name = ?", (status, silo, name)
            ).rowcount
        if not changed:
            raise refused(Code.TASK_UNKNOWN, f"task {name!r} of silo {silo!r}")

    def delete(self, silo: str, name: str) -> None:
        """See :meth:`BoardStorage.delete_task`."""
        with self._db.write() as db:
            if db.execute("DELETE FROM tasks WHERE silo = ? AND name = ?", (silo, name)).rowcount:
                _advance(db, silo)


def _advance(db: sqlite3.Connection, silo: str) -> int:
    row = db.execute(
        "INSERT INTO task_lists VALUES (?, 1) ON CONFLICT (silo) DO UPDATE SET revision = revision + 1 "
        "RETURNING revision",
        (silo,),
    ).fetchone()
    return int(row[0])
