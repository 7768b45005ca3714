"""The rows of an epoch: put by handle, counted when they are new, gone when they are withdrawn."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fedgestalt.exchange.epochs.values import Counts, Setup
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.rows import GalleryRows, SiloRows, TestRows, UndiagnosedRows
from fedgestalt.flake.tokens import TOKEN_BYTES

_PART_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class Cases:
    """Rows float64 [n, width], handles uint8 [n, 16], tokens uint8 [n, 16]; None: undiagnosed."""

    rows: NDArray[np.float64]
    handles: NDArray[np.uint8]
    tokens: NDArray[np.uint8] | None

    def parts(self) -> Iterator[Self]:
        """Pieces of at most 16 MiB, so that no transaction keeps queries waiting for long."""
        step = max(1, _PART_BYTES // (8 * max(1, self.rows.shape[1])))
        for start in range(0, len(self.rows), step):
            here = slice(start, start + step)
            tokens = None if self.tokens is None else self.tokens[here]
            yield type(self)(self.rows[here], self.handles[here], tokens)


def cases_of(rows: SiloRows) -> tuple[Cases, Cases]:
    """The gallery and the undiagnosed cases of an upload.

    Raises:
        FlakeError: a case that is both.
    """
    gallery = {handle.tobytes() for handle in rows.gallery.handles}
    if any(handle.tobytes() in gallery for handle in rows.undiagnosed.handles):
        raise FlakeError("a handle names a diagnosed and an undiagnosed case; a case is one or the other")
    return (
        Cases(rows.gallery.rows, rows.gallery.handles, rows.gallery.tokens),
        Cases(rows.undiagnosed.rows, rows.undiagnosed.handles, None),
    )


def gallery_rows(setup: Setup, parts: Sequence[Cases]) -> SiloRows:
    """Diagnosed cases as an upload of one split, without tests and undiagnosed cases."""
    rows = np.concatenate([np.empty((0, setup.width)), *(part.rows for part in parts)])
    none = np.empty((0, TOKEN_BYTES), dtype=np.uint8)
    handles = np.concatenate([none, *(part.handles for part in parts)])
    tokens = np.concatenate([none, *(part.tokens for part in parts if part.tokens is not None)])
    return SiloRows(
        setup.fingerprint,
        1,
        GalleryRows(rows, tokens, handles, np.ones(len(rows), dtype=np.uint32)),
        TestRows(rows[:0], none, np.empty(0, dtype=np.uint32)),
        UndiagnosedRows(rows[:0], none),
    )


def changes(db: sqlite3.Connection, epoch: str, owner: str, cases: Cases) -> tuple[list[int], list[int]]:
    """Which of some cases are new or differ from what is there, and which were withdrawn.

    Raises:
        RefusedError: HandleTaken if another owner has a case of one of the handles.
    """
    fresh, withdrawn = [], []
    for i, handle in enumerate(cases.handles):
        name = handle.tobytes()
        if db.execute(
            "SELECT 1 FROM tombstones WHERE epoch = ? AND owner = ? AND handle = ?", (epoch, owner, name)
        ).fetchone():
            withdrawn.append(i)
            continue
        found = db.execute(
            "SELECT owner, token, row FROM cases WHERE epoch = ? AND handle = ?", (epoch, name)
        ).fetchone()
        if found is not None and found[0] != owner:
            raise refused(Code.HANDLE_TAKEN, f"handle {name.hex()} in epoch {epoch[:16]}")
        if found is None or found[1] != _token(cases, i) or found[2] != _row(cases, i):
            fresh.append(i)
    return fresh, withdrawn


def put(db: sqlite3.Connection, epoch: str, owner: str, cases: Cases, which: Sequence[int]) -> None:
    """Store some of the cases, in place of those of the same handle."""
    db.executemany(
        "INSERT OR REPLACE INTO cases VALUES (?, ?, ?, ?, ?)",
        ((epoch, cases.handles[i].tobytes(), owner, _token(cases, i), _row(cases, i)) for i in which),
    )


def remove(db: sqlite3.Connection, epoch: str, owner: str, handles: Sequence[bytes]) -> int:
    """Delete cases of an owner and return how many there were."""
    cursor = db.executemany(
        "DELETE FROM cases WHERE epoch = ? AND owner = ? AND handle = ?",
        ((epoch, owner, handle) for handle in handles),
    )
    return cursor.rowcount


def counts(db: sqlite3.Connection, epoch: str) -> dict[str, Counts]:
    """How many rows each owner has."""
    rows = db.execute(
        "SELECT owner, count(token), count(*) - count(token) FROM cases WHERE epoch = ? GROUP BY owner",
        (epoch,),
    )
    return {owner: Counts(gallery, undiagnosed) for owner, gallery, undiagnosed in rows}


def gallery(db: sqlite3.Connection, epoch: str, owner: str, width: int) -> Iterator[Cases]:
    """An owner's diagnosed cases by handle, in pieces of at most 16 MiB."""
    step = max(1, _PART_BYTES // (8 * width))
    cursor = db.execute(
        "SELECT handle, token, row FROM cases WHERE epoch = ? AND owner = ? AND token IS NOT NULL ORDER BY handle",
        (epoch, owner),
    )
    while part := cursor.fetchmany(step):
        handles, tokens, rows = zip(*part, strict=True)
        yield Cases(
            np.frombuffer(b"".join(rows), "<f8").astype(np.float64, copy=False).reshape(-1, width),
            np.frombuffer(b"".join(handles), np.uint8).reshape(-1, TOKEN_BYTES),
            np.frombuffer(b"".join(tokens), np.uint8).reshape(-1, TOKEN_BYTES),
        )


def undiagnosed(db: sqlite3.Connection, epoch: str, width: int) -> dict[str, Cases]:
    """Each owner's undiagnosed cases, by handle."""
    found: dict[str, Cases] = {}
    for owner, held in sorted(counts(db, epoch).items()):
        if not held.undiagnosed:
            continue
        part = db.execute(
            "SELECT handle, row FROM cases WHERE epoch = ? AND owner = ? AND token IS NULL ORDER BY handle",
            (epoch, owner),
        ).fetchall()
        handles, rows = zip(*part, strict=True)
        found[owner] = Cases(
            np.frombuffer(b"".join(rows), "<f8").astype(np.float64, copy=False).reshape(-1, width),
            np.frombuffer(b"".join(handles), np.uint8).reshape(-1, TOKEN_BYTES),
            None,
        )
    return found


def _token(cases: Cases, i: int) -> bytes | None:
    return None if cases.tokens is None else cases.tokens[i].tobytes()


def _row(cases: Cases, i: int) -> bytes:
    return bytes(cases.rows[i].astype("<f8", copy=False).tobytes())
