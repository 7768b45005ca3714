"""Writers that share a commit: one fsync for many, and nobody's error or word is another's."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedgestalt.exchange.errors import BoardFullError
from fedgestalt.exchange.storage import Limits
from fedgestalt.exchange.storage.database import Database


class Bench:
    """A table ``kept``, and writers that queue up behind one that is held in its transaction."""

    def __init__(self, path: Path) -> None:
        self.db = Database(path, Limits())
        with self.db.write() as connection:
            connection.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, data BLOB)")
        self.commits = 0
        self.db._writer.set_trace_callback(self._count)
        self.outcomes: dict[str, BaseException | None] = {}

    def _count(self, statement: str) -> None:
        self.commits += statement == "COMMIT"

    def write(self, name: str, size: int = 0, fail: Exception | None = None) -> None:
        try:
            with self.db.write() as connection:
                connection.execute("INSERT INTO kept VALUES (?, ?)", (name, bytes(size)))
                if fail is not None:
                    raise fail
            self.outcomes[name] = None
        except Exception as error:
            self.outcomes[name] = error

    def together(self, *writers: tuple[str, int, Exception | None]) -> None:
        """All ``writers`` and one before them, in one commit."""
        threads = [threading.Thread(target=self.write, args=writer) for writer in writers]
        try:
            with self.db.write() as connection:
                connection.execute("INSERT INTO kept VALUES ('first', x'')")
                for thread in threads:
                    thread.start()
                end = time.monotonic() + 10
                while self.db._queued < len(threads):
                    assert time.monotonic() < end, "the writers did not queue up"
                    time.sleep(0.01)
        finally:
            for thread in threads:
                thread.join(10)
                assert not thread.is_alive()

    def kept(self) -> set[str]:
        with self.db.read() as connection:
            return {name for (name,) in connection.execute("SELECT name FROM kept")}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "db.sqlite")
    yield made
    made.db.close()


def test_writers_that_wait_for_one_another_commit_once(bench: Bench) -> None:
    bench.together(*((f"w{k}", 0, None) for k in range(12)))
    assert bench.commits == 1
    assert bench.kept() == {"first", *(f"w{k}" for k in range(12))}
    bench.write("alone")
    assert bench.commits == 2


def test_what_fails_is_undone_alone(bench: Bench) -> None:
    refusal = ValueError("no")
    bench.together(("good", 0, None), ("bad", 0, refusal), ("first", 0, None), ("too", 0, None))
    assert bench.kept() == {"first", "good", "too"}
    assert bench.outcomes["bad"] is refusal
    assert isinstance(bench.outcomes["first"], sqlite3.IntegrityError)
    assert bench.outcomes["good"] is bench.outcomes["too"] is None


def test_on_a_full_disk_those_and_only_those_are_kept_who_were_told_so(bench: Bench) -> None:
    (pages,) = bench.db._writer.execute("PRAGMA page_count").fetchone()
    bench.db._writer.execute(f"PRAGMA max_page_count={pages + 2}")
    try:
        bench.together(("small", 10, None), ("large", 1 << 20, None), ("another", 10, None))
        bench.outcomes["first"] = None
    except BoardFullError as error:  # SQLite took everything back
        bench.outcomes["first"] = error
    assert isinstance(bench.outcomes["large"], BoardFullError)
    assert bench.kept() == {name for name, error in bench.outcomes.items() if error is None}
    assert all(error is None or isinstance(error, BoardFullError) for error in bench.outcomes.values())
    assert len(bench.outcomes) == 4
    bench.db._writer.execute("PRAGMA max_page_count=100000")
    bench.write("later", 1 << 20)
    assert bench.outcomes["later"] is None


def test_a_commit_that_fails_is_an_error_of_every_writer_in_it(bench: Bench) -> None:
    def deny(action: int, what: str | None, *_: object) -> int:
        denied = action == sqlite3.SQLITE_TRANSACTION and what == "COMMIT"
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    bench.db._writer.set_authorizer(deny)
    with pytest.raises(sqlite3.OperationalError, match="not committed"):
        bench.together(("a", 0, None), ("b", 0, None))
    assert all(isinstance(error, sqlite3.OperationalError) for error in bench.outcomes.values())
    assert len(bench.outcomes) == 2
    assert bench.kept() == set()
    bench.db._writer.set_authorizer(None)
    bench.write("a")
    assert bench.kept() == {"a"}
