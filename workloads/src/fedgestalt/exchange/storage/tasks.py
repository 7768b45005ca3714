"""The table of tasks: what the hub wants of a silo, and what the silo says of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.storage.database import Database
from fedgestalt.exchange.storage.feed import COUNTER_BITS, ChangeFeed, new_tag
from fedgestalt.exchange.storage.messages import has_ended
from fedgestalt.exchange.storage.values import NewTask, Task, goes_back


class TaskTable:
    """Tasks by silo and name; each silo's list has a revision that grows with every change by the hub.

    The revision of a list holds a tag of the process, for the reason that :mod:`fedgestalt.exchange.storage.feed` gives: a
    silo that has seen more than a database that was set back would otherwise wait for a number that comes again, and take
    the list that has it then for the one that it knows.
    """

    def __init__(self, db: Database, feed: ChangeFeed) -> None:
        self._db, self._feed, self._tag = db, feed, new_tag()

    def put(self, silo: str, name: str, spec: bytes, round_uid: str) -> Task:
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
                "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?)",
                (silo, name, spec, status, revision, round_uid),
            )
            return Task(silo, name, spec, status, revision)

    def put_all(self, round_uid: str, tasks: Sequence[NewTask]) -> list[str]:
        """See :meth:`BoardStorage.put_tasks`."""
        changed: set[str] = set()
        with self._db.write() as db:
            # Here, within the transaction: tasks of a round that has just ended would be found by nobody.
            if has_ended(db, round_uid):
                raise refused(Code.ROUND_OVER, f"tasks of round {round_uid}")
            for task in tasks:
                row = db.execute(
                    "SELECT spec FROM tasks WHERE silo = ? AND name = ?", (task.silo, task.name)
                ).fetchone()
                if row is None:
                    changed.add(task.silo)
                    db.execute(
                        "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?)",
                        (task.silo, task.name, task.spec, b"{}", _advance(db, task.silo), round_uid),
                    )
                elif row[0] != task.spec:
                    raise refused(
                        Code.TASK_TAKEN, f"task {task.name!r} of silo {task.silo!r} has another spec"
                    )
        return sorted(changed)

    def of_round(self, round_uid: str) -> list[Task]:
        """See :meth:`BoardStorage.round_tasks`."""
        with self._db.read() as db:
            rows = db.execute(
                "SELECT silo, name, spec, status, revision FROM tasks WHERE round = ? ORDER BY silo, name",
                (round_uid,),
            ).fetchall()
        return [Task(*row) for row in rows]

    def rounds(self) -> list[str]:
        """See :meth:`BoardStorage.task_rounds`."""
        with self._db.read() as db:
            rows = db.execute("SELECT DISTINCT round FROM tasks WHERE round != ''").fetchall()
        return [uid for (uid,) in rows]

    def delete_round(self, round_uid: str) -> list[str]:
        """See :meth:`BoardStorage.delete_round_tasks`."""
        with self._db.write() as db:
            rows = db.execute("DELETE FROM tasks WHERE round = ? RETURNING silo", (round_uid,)).fetchall()
            silos = sorted({silo for (silo,) in rows})
            for silo in silos:
                _advance(db, silo)
        return silos

    def all(self, silo: str) -> tuple[tuple[Task, ...], int]:
        """See :meth:`BoardStorage.tasks`."""
        with self._db.read() as db:
            (revision,) = db.execute(
                "SELECT revision FROM task_lists WHERE silo = ?", (silo,)
            ).fetchone() or (0,)
            rows = db.execute(
                "SELECT name, spec, status, revision FROM tasks WHERE silo = ? ORDER BY name", (silo,)
            ).fetchall()
        return tuple(
            Task(silo, *row) for row in rows
        ), self._tag << COUNTER_BITS | revision if revision else 0

    def put_status(self, silo: str, name: str, status: bytes) -> bool:
        """See :meth:`BoardStorage.put_task_status`."""
        with self._db.write() as db:
            row = db.execute(
                "SELECT status, round FROM tasks WHERE silo = ? AND name = ?", (silo, name)
            ).fetchone()
            if row is None:
                raise refused(Code.TASK_UNKNOWN, f"task {name!r} of silo {silo!r}")
            if row[0] == status or goes_back(row[0], status):
                return False
            db.execute("UPDATE tasks SET status = ? WHERE silo = ? AND name = ?", (status, silo, name))
            if row[1]:
                self._feed.note(db, row[1])
            return True

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
