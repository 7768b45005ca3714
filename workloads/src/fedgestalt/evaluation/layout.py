"""How the contributions of a silo lie in one vector, so that vectors of silos can be added.

The vector is uint32 and holds, one after the other and each in row-major order,

    for each of the four settings in the order of `protocol.SETTINGS`
        hits[k, split, syndrome, replicate]   k over KS; split over 1..S, or split 1 alone where `once`;
                                              syndrome over those tested, in order of their identifier
    counts_trained[split, syndrome, replicate], counts_rare[split, syndrome, replicate]

with replicate 0 the plain count and replicates 1..R weighted by the bootstrap.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fedgestalt.evaluation.protocol import KS, SETTINGS, EvaluationError
from fedgestalt.flake.membership import every_split

DEFAULT_REPLICATES: Final = 200
MAX_REPLICATES: Final = 10_000


@dataclass(frozen=True)
class Layout:
    """The agreed shape of everybody's contributions.

    Attributes:
        trained: the frequent syndromes in ascending order of their identifier.
        rare: the rare ones, likewise.
        splits: the number S of numbered splits.
        replicates: the number R of bootstrap replicates; 0 gives no intervals.
    """

    trained: tuple[str, ...]
    rare: tuple[str, ...]
    splits: int
    replicates: int = DEFAULT_REPLICATES

    def __post_init__(self) -> None:
        every_split(self.splits)
        if not 0 <= self.replicates <= MAX_REPLICATES:
            raise EvaluationError(f"replicates must lie in 0..{MAX_REPLICATES}, not {self.replicates}")
        both = sorted(set(self.trained) & set(self.rare))
        if both:
            raise EvaluationError(f"syndromes cannot be frequent and rare at once: {', '.join(both[:10])}")
        for name in ("trained", "rare"):
            syndromes: tuple[str, ...] = getattr(self, name)
            if list(syndromes) != sorted(set(syndromes)):
                raise EvaluationError(f"{name} syndromes must be in ascending order without repetition")

    @classmethod
    def of(
        cls,
        syndromes: Sequence[str | None],
        roles: Sequence[str],
        splits: int,
        replicates: int = DEFAULT_REPLICATES,
    ) -> Self:
        """Return the layout of a whole cohort: train and test photos are frequent, rotating ones rare."""
        photos = [(syndrome, role) for syndrome, role in zip(syndromes, roles, strict=True) if syndrome]
        trained = {syndrome for syndrome, role in photos if role in ("train", "test")}
        rare = {syndrome for syndrome, role in photos if role == "rotating"}
        return cls(tuple(sorted(trained)), tuple(sorted(rare)), splits, replicates)

    @property
    def size(self) -> int:
        """Numbers of a contribution vector."""
        return sum(prod(shape) for _, shape in self._parts())

    @property
    def digest(self) -> str:
        """SHA-256 of the layout, in hexadecimal: vectors may be added only where it is equal."""
        content = ["fedgestalt/evaluation/v1", KS, self.trained, self.rare, self.splits, self.replicates]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    def zeros(self) -> NDArray[np.uint32]:
        """Return the vector of a silo that has no tests."""
        return np.zeros(self.size, dtype=np.uint32)

    def views(self, vector: NDArray[np.uint32]) -> dict[str, NDArray[np.uint32]]:
        """Return the named parts of a vector as views of it: the four settings' hits, and the counts.

        Raises:
            EvaluationError: a vector of another type or length.
        """
        if vector.dtype != np.uint32 or vector.shape != (self.size,):
            raise EvaluationError(
                f"contributions must be uint32 [{self.size}], not {vector.dtype} {list(vector.shape)}; "
                "were they made with another layout?"
            )
        views: dict[str, NDArray[np.uint32]] = {}
        offset = 0
        for name, shape in self._parts():
            views[name] = vector[offset : offset + prod(shape)].reshape(shape)
            offset += prod(shape)
        return views

    def _parts(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        tail = self.replicates + 1
        for setting in SETTINGS:
            syndromes = len(self.trained if setting.tests == "trained" else self.rare)
            yield setting.name, (len(KS), 1 if setting.once else self.splits, syndromes, tail)
        yield "counts_trained", (self.splits, len(self.trained), tail)
        yield "counts_rare", (self.splits, len(self.rare), tail)
