"""The kernel job: all silos' rows in, every owner's rankings out."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import MutableMapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.gram import ABSENT, DEFAULT_BUDGET, BlockScores, Questions, block_scores
from fedgestalt.flake.rankings import NO_TOKEN, Rankings
from fedgestalt.flake.rows import SiloRows


class Kernel:
    """FLAKE's function party: holds masked rows, compares them, answers with ranks.

    Blocks (the tests of one silo against the gallery of another) are kept under the digest of what went into
    them, so that a silo that joins or changes its rows costs only the blocks that are new. A cache that
    outlives the object (a mapping over files) carries them to the next release.

    Attributes:
        computed: how many blocks this object has computed, those found in the cache left out.
    """

    def __init__(
        self, *, budget: int = DEFAULT_BUDGET, cache: MutableMapping[str, bytes] | None = None
    ) -> None:
        """Make an empty kernel.

        Args:
            budget: bytes for the temporary arrays of one block, beside rows and results.
            cache: where reduced blocks are kept; in memory if left out. It holds similarities: it belongs to
                the kernel job alone and is deleted with the rows.
        """
        self._budget = budget
        self._cache: MutableMapping[str, bytes] = {} if cache is None else cache
        self._silos: dict[str, SiloRows] = {}
        self._digests: dict[str, tuple[str, str]] = {}
        self.computed = 0

    def put(self, owner: str, rows: SiloRows) -> None:
        """Add a silo's rows, or replace them.

        Raises:
            FlakeError: rows of another frame, width or number of splits than those already here, or rows that
                are not of length one.
        """
        for other, present in self._silos.items():
            if other != owner and _setup(present) != _setup(rows):
                raise FlakeError(
                    f"the rows of {owner} ({_setup(rows)}) do not go with those of {other} "
                    f"({_setup(present)}); encode them again with the frame of this epoch"
                )
        rows.check_lengths()
        self._silos[owner] = rows
        common = f"{rows.splits}".encode()
        self._digests[owner] = (
            _digest(common, rows.test.rows, rows.test.splits),
            _digest(common, rows.gallery.rows, rows.gallery.tokens, rows.gallery.splits),
        )

    def remove(self, owner: str) -> None:
        """Forget a silo's rows and the blocks that came from them."""
        del self._silos[owner]
        test, gallery = self._digests.pop(owner)
        for name in [name for name in self._cache if test in name or gallery in name]:
            del self._cache[name]

    def rankings(self, owner: str) -> Rankings:
        """Rank all label tokens for every test row and split of one owner, by nearest gallery photo.

        A syndrome's score is its nearest photo in any silo's gallery of that split; equal scores are ordered
        by token. Restricting a ranking to some tokens keeps their order, so that an owner, who knows which
        tokens are frequent syndromes, gets every setting of the protocol from this one.

        Raises:
            FlakeError: an owner without rows, or more syndromes than a ranking can number.
        """
        if owner not in self._silos:
            raise FlakeError(f"the kernel has no rows of {owner!r}")
        test, splits = self._silos[owner].test, self._silos[owner].splits
        blocks = [self._block(owner, other) for other in sorted(self._silos)]
        tokens = np.unique(np.concatenate([block.tokens for block in blocks]), axis=0)
        if len(tokens) >= NO_TOKEN:
            raise FlakeError(f"{len(tokens)} syndromes are more than a ranking can number ({NO_TOKEN - 1})")
        questions = Questions.of(test, splits)
        columns = [_columns(tokens, block.tokens) for block in blocks]
        order = np.empty((len(questions.row), len(tokens)), dtype=np.uint16)
        step = max(1, self._budget // (32 * max(1, len(tokens))))
        for start in range(0, len(order), step):
            here = slice(start, start + step)
            scores = np.full(order[here].shape, ABSENT, dtype=np.int64)
            for block, column in zip(blocks, columns, strict=True):
                scores[:, column] = np.maximum(scores[:, column], block.scores[here])
            order[here] = _ranked(scores)
        return Rankings(tokens, np.array(test.handles), questions.row, questions.split, order)

    def _block(self, owner: str, other: str) -> BlockScores:
        name = f"{self._digests[owner][0]}-{self._digests[other][1]}"
        found = self._cache.get(name)
        if found is not None:
            # A damaged block is as good as none.
            with contextlib.suppress(FlakeError):
                return BlockScores.decode(found)
        silo = self._silos[other]
        block = block_scores(self._silos[owner].test, silo.gallery, silo.splits, self._budget)
        self._cache[name] = block.encode()
        self.computed += 1
        return block


def _ranked(scores: NDArray[np.int64]) -> NDArray[np.uint16]:
    order = np.argsort(-scores, axis=1, kind="stable").astype(np.uint16)
    order[np.take_along_axis(scores, order.astype(np.intp), axis=1) == ABSENT] = NO_TOKEN
    return order


def _columns(table: NDArray[np.uint8], part: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return where the tokens of `part` stand in the `table` that contains them."""
    place = {token.tobytes(): i for i, token in enumerate(table)}
    return np.array([place[token.tobytes()] for token in part], dtype=np.intp)


def _setup(rows: SiloRows) -> str:
    return f"width {rows.width}, {rows.splits} splits, frame {rows.fingerprint.hex()}"


def _digest(common: bytes, *arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256(common)
    for array in arrays:
        digest.update(f"|{array.dtype.str}{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
