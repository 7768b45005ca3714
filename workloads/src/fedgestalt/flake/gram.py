"""One Gram block, reduced as it is computed: the tests of one silo against the gallery of another.

The inner products of masked rows are the cosines of the embeddings. They are computed by tiles that fit a
memory budget, and each tile is reduced at once to what a ranking needs: per question (a test row in one of
its splits) and label token the largest inner product, which is the nearest photo of that syndrome. Neither
the Gram matrix nor a whole block of it ever exists.

Inner products are compared as integers, multiples of 2^-40 (about 1e-12). That is far above the rounding of
float64 and far below anything that means something, so that two photos which tie in the plaintext tie here as
well, whatever the frame, the size of the tiles and the machine, and the tie is broken by token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.codec import ArraySpec, decode, encode
from fedgestalt.flake.rows import GalleryRows, TestRows
from fedgestalt.flake.tokens import TOKEN_BYTES

KIND: Final = "flake-scores/v1"
RESOLUTION: Final = 2.0**40
#: The score of a token that has no gallery row in a split.
ABSENT: Final = -(1 << 62)
DEFAULT_BUDGET: Final = 64 << 20
_MAX: Final = 1 << 26


@dataclass(frozen=True)
class Questions:
    """The (test row, split) pairs of a silo in order of row, then split: row uint32 [q], split uint8 [q]."""

    row: NDArray[np.uint32]
    split: NDArray[np.uint8]

    @classmethod
    def of(cls, test: TestRows, splits: int) -> Self:
        """List the questions that test rows ask; split numbers begin at 1."""
        asked = (test.splits[:, None] >> np.arange(splits, dtype=np.uint32)) & np.uint32(1)
        row, split = np.nonzero(asked)
        return cls(row.astype(np.uint32), (split + 1).astype(np.uint8))


@dataclass(frozen=True)
class BlockScores:
    """A reduced Gram block: sorted distinct tokens uint8 [k, 16], scores int64 [q, k] in units of 2^-40."""

    tokens: NDArray[np.uint8]
    scores: NDArray[np.int64]

    def encode(self) -> bytes:
        """Return deterministic bytes. They hold similarities and never leave the kernel job."""
        return encode(KIND, {}, {"tokens": self.tokens, "scores": self.scores})

    @classmethod
    def decode(cls, blob: bytes) -> Self:
        """Read what `encode` wrote."""
        specs = [ArraySpec("tokens", "|u1", (_MAX, TOKEN_BYTES)), ArraySpec("scores", "<i8", (_MAX, _MAX))]
        _, arrays = decode(blob, KIND, {}, specs)
        return cls(arrays["tokens"], arrays["scores"])


def block_scores(
    test: TestRows, gallery: GalleryRows, splits: int, budget: int = DEFAULT_BUDGET
) -> BlockScores:
    """Compute one reduced Gram block.

    Args:
        test, gallery: rows of one width, masked by one frame.
        splits: the number S of numbered splits.
        budget: bytes that the temporary arrays may take together, beside the result.
    """
    questions = Questions.of(test, splits)
    tokens, token_of_row = np.unique(gallery.tokens, axis=0, return_inverse=True)
    token_of_row = token_of_row.reshape(-1)
    scores = np.full((len(questions.row), len(tokens)), ABSENT, dtype=np.int64)
    if not scores.size:
        return BlockScores(tokens, scores)
    # Rows of one token and one set of splits stand together: such a group reduces to one column.
    order = np.lexsort((gallery.splits, token_of_row))
    high, wide = tile(len(test.rows), len(order), test.rows.shape[1], splits * len(tokens), budget)
    for top in range(0, len(test.rows), high):
        rows = np.ascontiguousarray(test.rows[top : top + high])
        best = np.full((splits, len(rows), len(tokens)), ABSENT, dtype=np.int64)
        for left in range(0, len(order), wide):
            part = order[left : left + wide]
            _reduce(best, rows @ gallery.rows[part].T, token_of_row[part], gallery.splits[part])
        here = slice(*np.searchsorted(questions.row, [top, top + len(rows)]))
        scores[here] = best[questions.split[here] - 1, questions.row[here] - top]
    return BlockScores(tokens, scores)


def tile(tests: int, gallery: int, width: int, cells: int, budget: int) -> tuple[int, int]:
    """Return how many test rows and gallery rows a tile may have within a budget of bytes, at least one each.

    A gallery row takes 8 bytes per number; a test row as well, and 8 per cell (split and token) of its
    running maxima; a pair of both 24 bytes (the inner product, its integer and its reduction).
    """
    wide = int(np.clip(budget // 4 // (8 * width), 1, gallery))
    high = int(np.clip(3 * budget // 4 // (8 * width + 8 * cells + 24 * wide), 1, tests))
    return high, wide


def _reduce(
    best: NDArray[np.int64],
    products: NDArray[np.float64],
    token: NDArray[np.intp],
    splits: NDArray[np.uint32],
) -> None:
    """Take a tile's inner products [rows, columns], sorted by (token, splits), into the maxima `best`."""
    scaled = np.rint(np.multiply(products, RESOLUTION, out=products), out=products).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, (token[1:] != token[:-1]) | (splits[1:] != splits[:-1])])
    groups = np.maximum.reduceat(scaled, starts, axis=1)
    group_token, group_splits = token[starts], splits[starts]
    for split in range(len(best)):
        inside = np.flatnonzero(group_splits >> np.uint32(split) & np.uint32(1))
        if not inside.size:
            continue
        tokens = group_token[inside]
        first = np.flatnonzero(np.r_[True, tokens[1:] != tokens[:-1]])
        nearest = np.maximum.reduceat(groups[:, inside], first, axis=1)
        columns = tokens[first]
        best[split][:, columns] = np.maximum(best[split][:, columns], nearest)
