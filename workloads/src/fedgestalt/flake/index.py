"""The gallery of an epoch, held so that one masked query is answered in a few milliseconds, exactly.

A query must give the order that `Kernel.rankings` gives: a token's score is its nearest row, scores are compared
as multiples of 2^-40, equal ones ordered by token. What it costs is memory traffic, so it looks at as little as it can:
a first pass bounds every score from above and below, which leaves the rows that could still be a token's nearest or be
among the first tokens; only these are scored in float64. The first pass reads a sketch of each row (`sketch`) where the
gallery has leading directions, and if that leaves too many rows, the rows in float32.

Memory: 12 bytes per number of a row and 4 per number of its sketch, 74 KiB for a case of the paper's 6,144 numbers.

What leaves is ranks, coarse bands and opaque handles: no similarity (`bands` says why).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.bands import band
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.frame import FINGERPRINT_BYTES, MAX_WIDTH
from fedgestalt.flake.gram import ABSENT, RESOLUTION
from fedgestalt.flake.mask import UNIT_TOLERANCE
from fedgestalt.flake.shelf import Shelf
from fedgestalt.flake.sketch import Sketch, product_error
from fedgestalt.flake.tokens import TOKEN_BYTES

#: The most tokens that one query is told.
TOP: Final = 30
# The sketch: its size, from how many rows and numbers on it is worth its making, from which share of rows on those that
# it leaves cost more than a pass over all in float32, and what may be left out of the median row for it to be of use.
_SKETCH: Final = 512
_SKETCH_ROWS: Final = 2048
_SAMPLE: Final = 1024
_TOO_MANY: Final = 1 / 12
_WORTHWHILE: Final = 0.35


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
        self._shelves: dict[str, Shelf] = {}
        self._columns: dict[bytes, int] = {}  # token -> column of the reduction; grows only
        self._tokens: list[bytes] = []
        self._error = product_error(width)
        self._sketch: Sketch | None = None
        self._prepared = 0  # rows that were there when it was made, or was found to be of no use

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
        self._shelves.setdefault(owner, Shelf(self.width, self._sketch)).put(rows, columns, names)

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
        survivors = self._by_sketch(shelves, row, top)
        if survivors is None:
            quick = row.astype(np.float32)
            scores = [shelf.quick[: len(shelf)] @ quick for shelf in shelves]
            survivors = self._survivors(shelves, scores, [np.float32(self._error)] * len(shelves), top)
        exact = np.full(len(self._tokens), ABSENT, dtype=np.int64)
        nearest: dict[int, bytes] = {}
        for shelf, places in zip(shelves, survivors, strict=True):
            found = np.rint(shelf.exact[places] @ row * RESOLUTION).astype(np.int64)
            for place, score in zip(places.tolist(), found.tolist(), strict=True):
                column, handle = int(shelf.columns[place]), shelf.handles[place]
                if score > exact[column] or (score == exact[column] and handle < nearest[column]):
                    exact[column], nearest[column] = score, handle
        order = sorted(nearest, key=lambda column: (-int(exact[column]), self._tokens[column]))[:top]
        return tuple(
            Match(rank, self._tokens[column], band(float(exact[column]) / RESOLUTION), nearest[column])
            for rank, column in enumerate(order, 1)
        )

    def prepare(self) -> None:
        """Make the sketch if the gallery has become large enough or twice as large; takes seconds for thousands of rows.

        Answers are the same without, only later. For whoever has just put many rows.
        """
        n = len(self)
        if n < max(_SKETCH_ROWS, 2 * self._prepared) or self.width < 2 * _SKETCH:
            return
        shelves = [shelf for shelf in self._shelves.values() if len(shelf)]
        step = max(1, n // _SAMPLE)
        sketch = Sketch.fit(np.concatenate([shelf.exact[: len(shelf) : step] for shelf in shelves]), _SKETCH)
        rest = np.concatenate([sketch.project(shelf.exact[: len(shelf) : step])[1] for shelf in shelves])
        self._prepared = n
        self._sketch = sketch if float(np.median(rest)) <= _WORTHWHILE else None
        for shelf in self._shelves.values():
            shelf.sketch(self._sketch)

    def _by_sketch(
        self, shelves: list[Shelf], row: NDArray[np.float64], top: int
    ) -> list[NDArray[np.intp]] | None:
        """The rows that the sketch leaves; None if there is none or it leaves too many."""
        if self._sketch is None:
            return None
        coordinates, rest = self._sketch.project(row[None])
        scores = [shelf.coordinates[: len(shelf)] @ coordinates[0] for shelf in shelves]
        slacks = [shelf.rest[: len(shelf)] * rest[0] + np.float32(self._sketch.error) for shelf in shelves]
        survivors = self._survivors(shelves, scores, slacks, top)
        many = sum(map(len, survivors)) > _TOO_MANY * sum(map(len, shelves))
        return None if many else survivors

    def _survivors(
        self,
        shelves: list[Shelf],
        scores: Sequence[NDArray[np.float32]],
        slacks: Sequence[NDArray[np.float32] | np.float32],
        top: int,
    ) -> list[NDArray[np.intp]]:
        """The rows that can be their token's nearest, of tokens that can be among the first `top`.

        True scores lie within a slack of the given ones. A row is out if its token certainly has a nearer one, or if
        `top` tokens certainly have.
        """
        least = np.full(len(self._tokens), -np.inf, dtype=np.float32)
        for shelf, score, slack in zip(shelves, scores, slacks, strict=True):
            np.maximum.at(least, shelf.columns[: len(shelf)], score - slack)
        if len(least) > top:
            least = np.maximum(least, np.partition(least, len(least) - top)[len(least) - top])
        return [
            np.flatnonzero(score + slack >= least[shelf.columns[: len(shelf)]])
            for shelf, score, slack in zip(shelves, scores, slacks, strict=True)
        ]

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
