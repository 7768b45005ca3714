"""The gallery of an epoch, held so that one masked query is answered in a few milliseconds, exactly.

A query must give the order that `Kernel.rankings` gives: a token's score is its nearest row, scores are compared
as multiples of 2^-40, equal ones ordered by token. Reading every row in float64 is twice the memory traffic that
the answer needs, so the rows are held in float32 as well. One pass over those gives scores with a proven error
bound, which leaves only the rows that could still be a token's nearest or be among the first tokens; these are
scored again in float64. Memory: 12 bytes per number of a row, 72 KiB for a case of the paper's 6,144 numbers.

What leaves is ranks, coarse bands and opaque handles: no similarity (`bands` says why).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.bands import band
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.frame import FINGERPRINT_BYTES, MAX_WIDTH
from fedgestalt.flake.gram import ABSENT, RESOLUTION
from fedgestalt.flake.mask import UNIT_TOLERANCE
from fedgestalt.flake.tokens import TOKEN_BYTES

#: The most tokens that one query is told.
TOP: Final = 30
_UNIT_ROUNDOFF: Final = 2.0**-24  # of float32


@dataclass(frozen=True, slots=True)
class Match:
    """One token of an answer: its rank from 1, its band (`bands.band`), the handle of its nearest row."""

    rank: int
    token: bytes
    band: int
    handle: bytes


class GalleryIndex:
    """Rotated gallery rows by owner. Not safe for threads: its user holds a lock.

    Attributes:
        width: numbers of a row.
        fingerprint: of the frame that masked the rows, 16 bytes.
    """

    def __init__(self, width: int, fingerprint: bytes) -> None:
        """Make an empty index.

        Raises:
            FlakeError: a width that no frame has, or a fingerprint of another length.
        """
        if not 1 <= width <= MAX_WIDTH or len(fingerprint) != FINGERPRINT_BYTES:
            raise FlakeError(
                f"an index needs a width of 1 to {MAX_WIDTH} and a fingerprint of {FINGERPRINT_BYTES} bytes, "
                f"not {width} and {len(fingerprint)}"
            )
        self.width = width
        self.fingerprint = fingerprint
        self._shelves: dict[str, _Shelf] = {}
        self._columns: dict[bytes, int] = {}  # token -> column of the reduction; grows only
        self._tokens: list[bytes] = []
        # Any order of summation in float32 stays within gamma = width u / (1 - width u) of the sum of absolute
        # products (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), which is at most the
        # product of the lengths; two more roundings come from the two conversions.
        roundings = (width + 2) * _UNIT_ROUNDOFF
        self._error = roundings / (1.0 - roundings) * (1.0 + UNIT_TOLERANCE) ** 2 + 2.0 / RESOLUTION

    def __len__(self) -> int:
        return sum(len(shelf) for shelf in self._shelves.values())

    def counts(self) -> dict[str, int]:
        """Return how many rows each owner has."""
        return {owner: len(shelf) for owner, shelf in self._shelves.items()}

    def put(
        self,
        owner: str,
        rows: NDArray[np.float64],
        tokens: NDArray[np.uint8],
        handles: NDArray[np.uint8],
    ) -> None:
        """Add rows of an owner; a row whose handle the owner has already replaces the one that is there.

        Args:
            owner: whose rows these are.
            rows: [n, width] of length one (tolerance 1e-6), masked by the frame of this index.
            tokens, handles: [n, 16].

        Raises:
            FlakeError: shapes or types that do not fit, a row of another length or not finite, a handle twice.
        """
        shape = (len(handles), TOKEN_BYTES)
        for name, array in (("tokens", tokens), ("handles", handles)):
            if array.dtype != np.uint8 or array.shape != shape:
                raise FlakeError(f"{name}: expected uint8 {list(shape)}, not {array.dtype} {array.shape}")
        self._check(rows, len(handles))
        names = [handle.tobytes() for handle in handles]
        if len(set(names)) != len(names):
            raise FlakeError("a handle names two rows; give each photo its own handle")
        columns = np.array([self._column(token.tobytes()) for token in tokens], dtype=np.intp)
        self._shelves.setdefault(owner, _Shelf(self.width)).put(rows, columns, names)

    def remove(self, owner: str, handles: Iterable[bytes]) -> int:
        """Forget rows of an owner by handle and return how many were there."""
        shelf = self._shelves.get(owner)
        return 0 if shelf is None else sum(shelf.remove(handle) for handle in handles)

    def remove_owner(self, owner: str) -> None:
        """Forget all rows of an owner; it is no error if there are none."""
        self._shelves.pop(owner, None)

    def query(
        self, row: NDArray[np.float64], *, exclude: str | None = None, top: int = TOP
    ) -> tuple[Match, ...]:
        """Return the tokens nearest to a masked row, at most `top`, from the nearest to the farthest.

        Args:
            row: [width] of length one (tolerance 1e-6), masked by the frame of this index.
            exclude: an owner whose rows are left out (the asker, who sees its own cases itself).
            top: 1..30.

        Raises:
            FlakeError: a row of another shape, type or length, or not finite.
        """
        if not 1 <= top <= TOP:
            raise FlakeError(f"an answer has 1 to {TOP} tokens, not {top}")
        self._check(row[None] if row.ndim == 1 else row, 1)
        shelves = [shelf for owner, shelf in self._shelves.items() if owner != exclude and len(shelf)]
        if not shelves:
            return ()
        quick = row.astype(np.float32)
        scores = [shelf.quick[: len(shelf)] @ quick for shelf in shelves]
        best = np.full(len(self._tokens), -np.inf, dtype=np.float32)
        for shelf, score in zip(shelves, scores, strict=True):
            np.maximum.at(best, shelf.columns[: len(shelf)], score)
        # A row can be its token's nearest only if its score is within two errors of that token's best, and a
        # token can be among the first only if its best is within two errors of the last of them.
        floor = best.astype(np.float64) - 2.0 * self._error
        if len(best) > top:
            last = float(np.partition(best, len(best) - top)[len(best) - top])
            floor[best < last - 2.0 * self._error] = np.inf
        exact = np.full(len(best), ABSENT, dtype=np.int64)
        nearest: dict[int, bytes] = {}
        for shelf, score in zip(shelves, scores, strict=True):
            for place in np.flatnonzero(score >= floor[shelf.columns[: len(shelf)]]).tolist():
                column, handle = int(shelf.columns[place]), shelf.handles[place]
                found = int(np.rint(float(shelf.exact[place] @ row) * RESOLUTION))
                if found > exact[column] or (found == exact[column] and handle < nearest[column]):
                    exact[column], nearest[column] = found, handle
        order = sorted(nearest, key=lambda column: (-int(exact[column]), self._tokens[column]))[:top]
        return tuple(
            Match(rank, self._tokens[column], band(float(exact[column]) / RESOLUTION), nearest[column])
            for rank, column in enumerate(order, 1)
        )

    def _column(self, token: bytes) -> int:
        column = self._columns.setdefault(token, len(self._tokens))
        if column == len(self._tokens):
            self._tokens.append(token)
        return column

    def _check(self, rows: NDArray[np.float64], count: int) -> None:
        if rows.dtype != np.float64 or rows.shape != (count, self.width):
            raise FlakeError(
                f"expected rows of float64 {[count, self.width]}, not {rows.dtype} {list(rows.shape)}"
            )
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        bad = np.flatnonzero(~(np.abs(lengths - 1.0) <= UNIT_TOLERANCE))  # NaN compares as false
        if bad.size:
            raise FlakeError(
                f"row {int(bad[0])} is not of length one within {UNIT_TOLERANCE}; "
                "mask unit embeddings with `rotate`"
            )


class _Shelf:
    """The rows of one owner: arrays that grow by half, gaps closed with the last row."""

    def __init__(self, width: int) -> None:
        self.exact = np.empty((0, width), dtype=np.float64)
        self.quick = np.empty((0, width), dtype=np.float32)
        self.columns = np.empty(0, dtype=np.intp)
        self.handles: list[bytes] = []
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.handles)

    def put(self, rows: NDArray[np.float64], columns: NDArray[np.intp], handles: list[bytes]) -> None:
        self._reserve(len(self) + sum(handle not in self._places for handle in handles))
        places = []
        for handle in handles:
            place = self._places.setdefault(handle, len(self.handles))
            if place == len(self.handles):
                self.handles.append(handle)
            places.append(place)
        self.exact[places] = rows
        self.quick[places] = rows
        self.columns[places] = columns

    def remove(self, handle: bytes) -> bool:
        place = self._places.pop(handle, None)
        if place is None:
            return False
        end = len(self.handles) - 1
        last = self.handles.pop()
        if place != end:
            self.handles[place], self._places[last] = last, place
            for array in (self.exact, self.quick, self.columns):
                array[place] = array[end]
        self.exact[end], self.quick[end] = 0.0, 0.0  # a withdrawn row does not linger in memory
        return True

    def _reserve(self, size: int) -> None:
        if size <= len(self.columns):
            return
        room = max(size, len(self.columns) * 3 // 2) if len(self) else size
        for name in ("exact", "quick", "columns"):
            old = getattr(self, name)
            new = np.zeros((room, *old.shape[1:]), dtype=old.dtype)
            new[: len(self)] = old[: len(self)]
            setattr(self, name, new)
