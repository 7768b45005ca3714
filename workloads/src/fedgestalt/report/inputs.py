"""What a report is made of, checked before anything is written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.evaluation import ARMS, EvaluationTable

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class ReportError(ValueError):
    """Input of which no report can be made; the message names the field and the fix."""


@dataclass(frozen=True)
class Photo:
    """One face to show.

    Attributes:
        owner: the silo whose photo it is.
        pixels: uint8 [height, width, 3], RGB.
        syndrome: identifier of the diagnosis, for example "SYN:F001"; "" if undiagnosed.
    """

    owner: str
    pixels: NDArray[np.uint8] = field(repr=False)
    syndrome: str = ""


@dataclass(frozen=True)
class Neighbour:
    """A gallery case near a test photo: the owner's own photo, or a handle to a case of another silo."""

    syndrome: str
    photo: Photo | None = None
    handle: str = ""


@dataclass(frozen=True)
class LookAlikes:
    """One test photo of a silo and its nearest gallery cases, nearest first."""

    query: Photo
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class SiloFacts:
    """What the report says of one hospital.

    Attributes:
        weight: its public weight in the average.
        photos: photos that took part, by role ("train", "gallery", "test").
        bytes_sent: bytes it uploaded, by kind ("masked updates", "masked rows", "messages").
        look_alikes: a few of its own test photos, only ever with its own gallery's photos.
    """

    name: str
    weight: int
    photos: Mapping[str, int] = field(default_factory=dict)
    bytes_sent: Mapping[str, int] = field(default_factory=dict)
    look_alikes: tuple[LookAlikes, ...] = ()


@dataclass(frozen=True)
class Aggregation:
    """One secure aggregation: whose updates the sum holds and which model came of it (SHA-256, hex)."""

    member: str
    t: int
    survivors: tuple[str, ...]
    model_sha256: str
    tries: int = 1


@dataclass(frozen=True)
class CohortFacts:
    """What the round learned from. Photos are shown only of a synthetic cohort."""

    name: str
    synthetic: bool
    split: str
    frequent_syndromes: int
    rare_syndromes: int
    patients: int
    photos: int


@dataclass(frozen=True)
class ReportInput:
    """Everything in a report. Only the federated arm is indispensable; what is missing is left out and said so.

    Attributes:
        arms: tables of accuracies (fractions 0 to 1) by name, out of `evaluation.ARMS`.
        silos: the roster, in the order in which to show it.
        aggregations: all secure aggregations of the round, in order.
        versions: of the protocol and the software, by name.
        stage_seconds: wall time by stage.
        montage: faces of the cohort, for an impression.
        commands: the commands that reproduce the figures.
    """

    cohort: CohortFacts
    arms: Mapping[str, EvaluationTable]
    silos: tuple[SiloFacts, ...]
    model_sha256: str
    seed: int
    wall_seconds: float
    peak_rss_mib: float
    created: datetime
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    aggregations: tuple[Aggregation, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    montage: tuple[Photo, ...] = ()
    commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [*self._arm_problems(), *self._round_problems(), *self._picture_problems()]
        if problems:
            raise ReportError("no report can be made of this input: " + "; ".join(problems))

    def _arm_problems(self) -> list[str]:
        problems = [f"arms: unknown {arm!r}, use {', '.join(ARMS)}" for arm in self.arms if arm not in ARMS]
        if "federated" not in self.arms:
            problems.append("arms: the federated table is missing; evaluate the round first")
        for name, table in self.arms.items():
            if bool(np.any(table.lower > table.upper)):
                problems.append(f"arms.{name}: an interval whose lower end lies above its upper end")
            if bool(np.any((table.values < 0) | (table.values > 1))):
                problems.append(f"arms.{name}: accuracies are fractions between 0 and 1")
        return problems

    def _round_problems(self) -> list[str]:
        names = [silo.name for silo in self.silos]
        problems = [] if names and len(set(names)) == len(names) else ["silos: give each silo once"]
        digests = {"model_sha256": self.model_sha256}
        digests |= {
            f"aggregations[{i}].model_sha256": a.model_sha256 for i, a in enumerate(self.aggregations)
        }
        problems += [
            f"{where}: not 64 lower-case hex digits"
            for where, d in digests.items()
            if not _SHA256.fullmatch(d)
        ]
        for i, aggregation in enumerate(self.aggregations):
            if strangers := sorted(set(aggregation.survivors) - set(names)):
                problems.append(f"aggregations[{i}].survivors: {', '.join(strangers)} not among the silos")
        measured = {"wall_seconds": self.wall_seconds, "peak_rss_mib": self.peak_rss_mib}
        measured |= {f"stage_seconds.{name}": value for name, value in self.stage_seconds.items()}
        problems += [f"{k}: not a number >= 0" for k, v in measured.items() if not math.isfinite(v) or v < 0]
        return problems

    def _picture_problems(self) -> list[str]:
        problems = []
        for silo in self.silos:
            for case in silo.look_alikes:
                shown = [case.query, *(n.photo for n in case.neighbours if n.photo is not None)]
                if any(photo.owner != silo.name for photo in shown):
                    problems.append(
                        f"silos.{silo.name}.look_alikes: a photo of another silo; give its handle instead"
                    )
        return problems
