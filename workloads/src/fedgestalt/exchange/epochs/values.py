"""The values of an epoch that cross between store, service, routes and client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Budget:
    """What one silo may spend in the lifetime of an epoch. FLAKE's frame falls to whoever has enough rows.

    Attributes:
        rows: gallery, undiagnosed, test and query rows together.
        queries: query rows alone.
    """

    rows: int = 200_000
    queries: int = 2_000


class Cause(StrEnum):
    """Why an epoch is due for rotation: the hub should run a Rotate round."""

    WITHDRAWAL = "Withdrawal"
    DEPARTURE = "Departure"
    BUDGET_SPENT = "BudgetSpent"


@dataclass(frozen=True, slots=True)
class RotationDue:
    """One reason to rotate: its cause, the silo, and since when (seconds of the exchange's clock)."""

    cause: Cause
    silo: str
    since: float


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows of an owner are kept."""

    gallery: int = 0
    undiagnosed: int = 0


@dataclass(frozen=True, slots=True)
class Setup:
    """What rows of an epoch must have in common: numbers of a row, the frame's fingerprint (16 bytes)."""

    width: int
    fingerprint: bytes


@dataclass(frozen=True)
class EpochRecord:
    """An epoch as it is kept.

    Attributes:
        epoch: the handshake hash (hex) of the enrolment that drew its key.
        release: digest (hex) of the release whose queries it answers now.
        members: silo -> identity, 32 bytes.
        budget: of each silo.
        setup: None until the first rows are there.
        rotation_due: empty: the epoch stands.
        look_due: cases were taken out since clusters were looked for.
    """

    epoch: str
    release: str
    members: Mapping[str, bytes]
    budget: Budget
    setup: Setup | None
    rotation_due: tuple[RotationDue, ...] = ()
    look_due: bool = False
    counts: Mapping[str, Counts] = field(default_factory=dict)

    def counts_of(self, silo: str) -> Counts:
        """How many rows a member has here."""
        return self.counts.get(silo, Counts())


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of rows that were given: new or changed ones, ones that were there, ones that were withdrawn."""

    stored: int
    present: int
    withdrawn: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.stored + other.stored, self.present + other.present, self.withdrawn + other.withdrawn
        )
