"""How many clusters of discovery are what they seem, where the truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

MIN_OWNERS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One undiagnosed photo: of whom, and what its patient truly has."""

    owner: str
    syndrome: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """Counts of clusters and syndromes.

    Attributes:
        told: clusters of at least three owners.
        true: of those, ones whose majority syndrome makes up half of it and comes from three owners.
        false: ones whose majority syndrome makes up less than half, or comes from one owner. The rest are a syndrome of two
            owners with a stranger at the third.
        found: held-out syndromes that are the majority of a true cluster.
        reachable: held-out syndromes that three owners have.
    """

    told: int
    true: int
    false: int
    found: int
    reachable: int

    @property
    def false_rate(self) -> float | None:
        """False clusters among those told; None where none was told."""
        return self.false / self.told if self.told else None

    @classmethod
    def of(
        cls, clusters: Iterable[Sequence[Case]], held_out: Collection[str], everybody: Iterable[Case]
    ) -> Self:
        """Judge clusters.

        Args:
            clusters: the cases of each.
            held_out: syndromes that nobody has diagnosed.
            everybody: all undiagnosed cases.
        """
        told = true = false = 0
        found = set[str]()
        for cases in clusters:
            if len({case.owner for case in cases}) < MIN_OWNERS:
                continue
            told += 1
            counts = Counter(case.syndrome for case in cases)
            major = min(counts, key=lambda name: (-counts[name], name))
            owners = len({case.owner for case in cases if case.syndrome == major})
            if 2 * counts[major] < len(cases) or owners < 2:
                false += 1
            elif owners >= MIN_OWNERS:
                true += 1
                found |= {major} & set(held_out)
        having: dict[str, set[str]] = {}
        for case in everybody:
            having.setdefault(case.syndrome, set()).add(case.owner)
        reachable = sum(len(having.get(name, ())) >= MIN_OWNERS for name in held_out)
        return cls(told, true, false, len(found), reachable)
