"""What an owner gets back: for each of its test rows and splits the label tokens in order. No similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.codec import ArraySpec, decode, encode
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.gram import Questions
from fedgestalt.flake.membership import MAX_SPLITS
from fedgestalt.flake.rows import TestRows
from fedgestalt.flake.tokens import TOKEN_BYTES

KIND: Final = "flake-rankings/v1"
#: Fills a ranking behind the last token that has a gallery row in its split.
NO_TOKEN: Final = 0xFFFF
_MAX_ROWS: Final = 200_000


@dataclass(frozen=True)
class Rankings:
    """The rankings of one owner.

    Attributes:
        tokens: all label tokens of the gallery in ascending order, uint8 [k, 16].
        handles: the owner's test rows, uint8 [n, 16].
        row: which test row a ranking is of, uint32 [q].
        split: in which numbered split (from 1), uint8 [q].
        order: indices into `tokens` from the nearest syndrome to the farthest, uint16 [q, k], filled up with
            NO_TOKEN.
    """

    tokens: NDArray[np.uint8]
    handles: NDArray[np.uint8]
    row: NDArray[np.uint32]
    split: NDArray[np.uint8]
    order: NDArray[np.uint16]

    def __post_init__(self) -> None:
        asked, known = len(self.row), len(self.tokens)
        if self.split.shape != (asked,) or self.order.shape != (asked, known):
            raise FlakeError(f"rankings: {asked} rows, {len(self.split)} splits and order {self.order.shape}")
        if np.any(self.row >= len(self.handles)) or np.any((self.split < 1) | (self.split > MAX_SPLITS)):
            raise FlakeError("rankings: a test row or a split that does not exist")
        if np.any((self.order >= known) & (self.order != NO_TOKEN)):
            raise FlakeError("rankings: an order names a token that is not in the table")
        ascending = np.sort(self.order, axis=1)  # the filler, being the largest number, comes last
        if np.any((ascending[:, 1:] == ascending[:, :-1]) & (ascending[:, 1:] != NO_TOKEN)):
            raise FlakeError("rankings: a token stands twice in one order")
        if np.any((self.order[:, :-1] == NO_TOKEN) & (self.order[:, 1:] != NO_TOKEN)):
            raise FlakeError("rankings: an order has a gap")

    def encode(self) -> bytes:
        """Return deterministic bytes, two per rank."""
        arrays = {name: getattr(self, name) for name, _ in _ARRAYS}
        return encode(KIND, {}, arrays)

    @classmethod
    def decode(cls, blob: bytes | memoryview, test: TestRows, splits: int) -> Self:
        """Read the kernel's untrusted answer to the test rows that its owner uploaded.

        Raises:
            FlakeError: bytes that are not well-formed rankings, or that answer other questions than those
                asked: all of these rows in all of their splits, in order.
        """
        questions = _MAX_ROWS * MAX_SPLITS
        limits = {
            "tokens": (NO_TOKEN, TOKEN_BYTES),
            "handles": (_MAX_ROWS, TOKEN_BYTES),
            "row": (questions,),
            "split": (questions,),
            "order": (questions, NO_TOKEN),
        }
        _, arrays = decode(blob, KIND, {}, [ArraySpec(n, dtype, limits[n]) for n, dtype in _ARRAYS])
        found = cls(**arrays)
        asked = Questions.of(test, splits)
        if not (
            np.array_equal(found.handles, test.handles)
            and np.array_equal(found.row, asked.row)
            and np.array_equal(found.split, asked.split)
        ):
            raise FlakeError("the rankings do not answer exactly the test rows that were uploaded")
        return found


_ARRAYS: Final = (("tokens", "|u1"), ("handles", "|u1"), ("row", "<u4"), ("split", "|u1"), ("order", "<u2"))
