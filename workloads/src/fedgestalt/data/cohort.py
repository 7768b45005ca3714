"""A cohort: photos of one hospital with patients, syndromes and what evaluation may use them for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

SPLITS = 10
"""Numbered splits 1..10 in which rare syndromes' patients change sides (the field's protocol)."""


class Role(StrEnum):
    """What a photo may be used for; the same for all photos of a patient."""

    TRAIN = "train"
    """Frequent syndrome: trained on, and gallery in every numbered split."""
    TEST = "test"
    """Frequent syndrome: test in every numbered split, never trained on."""
    ROTATING = "rotating"
    """Rare syndrome, never trained on: test in the listed splits, gallery in the others."""
    UNDIAGNOSED = "undiagnosed"
    """No diagnosis: neither trained on nor evaluated."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One row of the manifest.

    Attributes:
        image: path of the file, relative to the cohort's folder.
        patient: identifier, unique over all silos of a federation.
        syndrome: CURIE, None for an undiagnosed patient.
        role: see `Role`.
        test_splits: numbers of 1..10 in which a rotating patient is test; else empty.
    """

    image: Path
    patient: str
    syndrome: str | None
    role: Role
    test_splits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cohort:
    """A folder of photos and its manifest.

    Attributes:
        root: the folder.
        name: of the cohort, or of the silo that it belongs to.
        photos: in the order of the manifest.
        synthetic: whether every face is invented; shown wherever a figure or a face appears.
        provenance: where it comes from (generator, seed, profiles), free form.
    """

    root: Path
    name: str
    photos: tuple[Photo, ...] = field(repr=False)
    synthetic: bool
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def trained(self) -> tuple[str, ...]:
        """Syndromes that are trained on, sorted."""
        return _syndromes(self.photos, {Role.TRAIN, Role.TEST})

    @property
    def rare(self) -> tuple[str, ...]:
        """Rare syndromes, sorted."""
        return _syndromes(self.photos, {Role.ROTATING})

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients, sorted."""
        return tuple(sorted({photo.patient for photo in self.photos}))

    def subset(self, keep: Callable[[Photo], bool]) -> Cohort:
        """The same cohort with only the photos that ``keep`` accepts."""
        return replace(self, photos=tuple(photo for photo in self.photos if keep(photo)))


def _syndromes(photos: tuple[Photo, ...], roles: set[Role]) -> tuple[str, ...]:
    return tuple(sorted({photo.syndrome for photo in photos if photo.syndrome and photo.role in roles}))
