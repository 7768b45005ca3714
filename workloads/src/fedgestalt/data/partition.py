"""Dealing patients to silos. A patient never crosses silos, whatever the scheme."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

NEAR_UNIFORM: Final = "near-uniform"
NON_OVERLAPPING: Final = "non-overlapping"
_DIRICHLET: Final = re.compile(r"dirichlet:(\d+(?:\.\d+)?)")
_COMPASS: Final = ("east", "north", "south", "west")
MOST_SILOS: Final = 64


@dataclass(frozen=True)
class Split:
    """A scheme: near-uniform, non-overlapping, or dirichlet with its concentration."""

    kind: str
    alpha: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Split:
        """Read ``near-uniform``, ``non-overlapping`` or ``dirichlet:A``.

        Raises:
            ValueError: anything else, or A not above 0.
        """
        if text in (NEAR_UNIFORM, NON_OVERLAPPING):
            return cls(text)
        found = _DIRICHLET.fullmatch(text)
        if found and float(found[1]) > 0:
            return cls("dirichlet", float(found[1]))
        raise ValueError(
            f"split {text!r}: use {NEAR_UNIFORM}, {NON_OVERLAPPING} or dirichlet:A with A above 0"
        )

    def __str__(self) -> str:
        return f"dirichlet:{self.alpha:g}" if self.kind == "dirichlet" else self.kind


@dataclass(frozen=True)
class Patient:
    """What dealing needs to know of a patient."""

    name: str
    syndrome: str
    rare: bool


def silo_names(count: int) -> tuple[str, ...]:
    """Names of silos: the points of the compass for four, numbers otherwise.

    Raises:
        ValueError: fewer than 3 (a sum of two hides nothing from either) or more than 64.
    """
    if not 3 <= count <= MOST_SILOS:
        raise ValueError(f"{count} silos: a federation has 3 to {MOST_SILOS}")
    return _COMPASS if count == 4 else tuple(f"silo-{i:02d}" for i in range(1, count + 1))


def deal(patients: Sequence[Patient], silos: int, split: Split, seed: int) -> dict[str, int]:
    """Assign every patient to a silo 0..silos-1; the same arguments give the same answer.

    near-uniform deals each syndrome's patients in turn, so that every silo has about as many of each.
    non-overlapping gives whole syndromes to silos, the largest first, each to the silo with the fewest patients.
    dirichlet draws per frequent syndrome the silos' shares from a symmetric Dirichlet distribution; a rare syndrome lives in
    one silo or two.

    Raises:
        ValueError: a patient is listed twice.
    """
    if len({patient.name for patient in patients}) != len(patients):
        raise ValueError("a patient is listed twice; a patient has one syndrome and one silo")
    rng = np.random.default_rng([seed, silos, 0xDEA1])
    by_syndrome: dict[str, list[Patient]] = {}
    for patient in sorted(patients, key=lambda p: p.name):
        by_syndrome.setdefault(patient.syndrome, []).append(patient)
    groups = {
        name: [group[i] for i in rng.permutation(len(group))] for name, group in sorted(by_syndrome.items())
    }
    match split.kind:
        case "near-uniform":
            return _in_turn(groups, silos, rng)
        case "non-overlapping":
            return _whole(groups, silos, rng)
        case _:
            return _dirichlet(groups, silos, split.alpha, rng)


def _in_turn(groups: Mapping[str, list[Patient]], silos: int, rng: np.random.Generator) -> dict[str, int]:
    placed: dict[str, int] = {}
    for group in groups.values():
        order = rng.permutation(silos)
        placed.update({patient.name: int(order[i % silos]) for i, patient in enumerate(group)})
    return placed


def _whole(groups: Mapping[str, list[Patient]], silos: int, rng: np.random.Generator) -> dict[str, int]:
    placed: dict[str, int] = {}
    for rare in (False, True):
        load = np.zeros(silos)
        chosen = [name for name, group in groups.items() if group[0].rare is rare]
        shuffled = [chosen[i] for i in rng.permutation(len(chosen))]
        for name in sorted(shuffled, key=lambda n: -len(groups[n])):
            silo = int(load.argmin())
            load[silo] += len(groups[name])
            placed.update({patient.name: silo for patient in groups[name]})
    return placed


def _dirichlet(
    groups: Mapping[str, list[Patient]], silos: int, alpha: float, rng: np.random.Generator
) -> dict[str, int]:
    placed: dict[str, int] = {}
    for group in groups.values():
        if group[0].rare:
            homes = rng.choice(silos, size=min(2, silos), replace=False)
            share = np.zeros(silos)
            share[homes] = rng.dirichlet([1.0, 1.0])
        else:
            share = rng.dirichlet(np.full(silos, alpha))
        share = np.nan_to_num(share) + 1e-12
        drawn = rng.choice(silos, size=len(group), p=share / share.sum())
        placed.update({patient.name: int(silo) for patient, silo in zip(group, drawn, strict=True)})
    return placed
