"""Sizes of the built-in cohort, and its patients before they are rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .cohort import SPLITS, Role
from .partition import Patient
from .synthdysm.photos import derive_seed
from .synthdysm.profiles import Profile, hpoa_profiles

TIERS: Final = ("tiny", "demo", "full")


@dataclass(frozen=True)
class Syndrome:
    """One class: a neutral name, the profile behind it, and its patients by role."""

    name: str
    profile: Profile
    train: int
    test: int
    rotating: int

    @property
    def rare(self) -> bool:
        """Whether it is never trained on."""
        return self.rotating > 0


@dataclass(frozen=True)
class PlannedPatient:
    """A patient to be rendered.

    Attributes:
        name: unique over the federation.
        syndrome: what it has.
        role, test_splits: as in the manifest.
        seed: fixes identity, phenotype and photos.
        photos: how many.
    """

    name: str
    syndrome: Syndrome
    role: Role
    test_splits: tuple[int, ...]
    seed: int
    photos: int

    def to_deal(self) -> Patient:
        """What the partition needs."""
        return Patient(self.name, self.syndrome.name, self.syndrome.rare)


def syndromes(tier: str) -> tuple[Syndrome, ...]:
    """The classes of a tier.

    tiny: 8 frequent and 4 rare syndromes of 8 patients, for tests. demo: 60 frequent syndromes of 33 + 8 patients (train +
    test) and 40 rare ones of 8: test lists large enough that a per cent is more than one patient. full: a long tail of 204
    frequent and 400 rare syndromes.

    Raises:
        ValueError: an unknown tier.
    """
    match tier:
        case "tiny":
            return _classes([(6, 2)] * 8, [8] * 4)
        case "demo":
            return _classes([(33, 8)] * 60, [8] * 40)
        case "full":
            sizes = [max(7, round(200 * k**-0.62)) for k in range(1, 205)]
            frequent = [(n - max(1, n // 10), max(1, n // 10)) for n in sizes]
            counts = np.random.default_rng(0xF011).choice(
                [2, 3, 4, 5, 6], 400, p=[0.38, 0.27, 0.17, 0.11, 0.07]
            )
            return _classes(frequent, [int(n) for n in counts])
    raise ValueError(f"unknown tier {tier!r}: choose one of {', '.join(TIERS)}")


def _classes(frequent: Sequence[tuple[int, int]], rare: Sequence[int]) -> tuple[Syndrome, ...]:
    profiles = iter(hpoa_profiles())
    common = [
        Syndrome(f"SYN:F{i:03d}", next(profiles), train, test, 0)
        for i, (train, test) in enumerate(frequent, 1)
    ]
    seldom = [Syndrome(f"SYN:R{i:03d}", next(profiles), 0, 0, count) for i, count in enumerate(rare, 1)]
    return (*common, *seldom)


def plan_patients(tier: str, seed: int) -> list[PlannedPatient]:
    """Every patient of a tier, from one seed."""
    planned: list[PlannedPatient] = []
    for syndrome in syndromes(tier):
        roles = (
            [Role.TRAIN] * syndrome.train + [Role.TEST] * syndrome.test + [Role.ROTATING] * syndrome.rotating
        )
        splits = _rotation(syndrome, seed)
        for number, role in enumerate(roles):
            short = syndrome.name.removeprefix("SYN:")
            patient_seed = derive_seed("cohort", tier, seed, syndrome.name, number)
            rng = np.random.default_rng([patient_seed, 3])
            photos = 1 + (int(rng.poisson(0.45)) if tier == "full" else int(rng.random() < 0.04))
            test_splits = splits[number] if role is Role.ROTATING else ()
            planned.append(
                PlannedPatient(f"{short}-{number:03d}", syndrome, role, test_splits, patient_seed, photos)
            )
    return planned


def _rotation(syndrome: Syndrome, seed: int) -> Mapping[int, tuple[int, ...]]:
    """In which numbered splits each patient of a rare syndrome is test: half of them in each, at least one on each side."""
    count = syndrome.rotating
    splits: dict[int, list[int]] = {number: [] for number in range(count)}
    if count:
        rng = np.random.default_rng([derive_seed("rotation", seed, syndrome.name)])
        for split in range(1, SPLITS + 1):
            for number in rng.permutation(count)[: max(1, count // 2)]:
                splits[int(number)].append(split)
        for listed in splits.values():
            if (
                len(listed) == SPLITS
            ):  # it would never be gallery: give its last split to a patient that was not in it
                other = next(i for i in splits if SPLITS not in splits[i])
                listed.remove(SPLITS)
                splits[other].append(SPLITS)
    return {number: tuple(sorted(listed)) for number, listed in splits.items()}
