"""FederationRound: the coordinator's wish, as the planner reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .meta import Metadata, expect_kind, parse_metadata

KIND = "FederationRound"
MANAGED_BY = "fedgestalt.org/hub"

# Fields that may change after creation. Everything else defines the computation and is frozen on the board.
MUTABLE = ("suspend", "ttlAfterFinished", "deadlines", "managedBy")


class Operation(StrEnum):
    """What a round does."""

    TRAIN = "Train"
    ADOPT = "Adopt"
    ROTATE = "Rotate"


class Phase(StrEnum):
    """Where a round stands. `Suspended` is a condition, not a phase."""

    PENDING = "Pending"
    ENROLLING = "Enrolling"
    TRAINING = "Training"
    ENCODING = "Encoding"
    MATCHING = "Matching"
    RELEASING = "Releasing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Quorum:
    """`min_silos` silos at the least; `straggler_timeout` seconds after the first arrival of a kind."""

    min_silos: int
    straggler_timeout: float


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Two clocks in seconds: `start` bounds acceptance and each enrolment, `active` all that follows."""

    start: float
    active: float


@dataclass(frozen=True, slots=True)
class Member:
    """One network of the ensemble, as far as the hub needs to know it."""

    name: str
    trainable: bool


@dataclass(frozen=True, slots=True)
class FederationRound:
    """A FederationRound. `spec` is the whole defaulted spec; the other fields are views of it.

    `silos` is empty where `selector` (labels that a Silo must carry) chooses them.
    """

    metadata: Metadata
    operation: Operation
    silos: tuple[str, ...]
    selector: Mapping[str, str]
    members: tuple[Member, ...]
    communication_rounds: int
    quorum: Quorum
    deadlines: Deadlines
    stop_after: str
    suspend: bool
    ttl_after_finished: float | None
    managed_by: str
    spec: Mapping[str, Any]

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the members that are trained, in order."""
        return tuple(m.name for m in self.members if m.trainable)


def parse_round(document: Mapping[str, Any]) -> FederationRound:
    """Read a defaulted, validated FederationRound (see `kube.validate`).

    Raises:
        ValueError: the document is of another kind.
        KeyError: a required field is absent: the document was not validated.
    """
    expect_kind(document, KIND)
    spec = document["spec"]
    training = spec.get("training", {})
    ttl = spec.get("ttlAfterFinished")
    return FederationRound(
        metadata=parse_metadata(document),
        operation=Operation(spec["operation"]),
        silos=tuple(sorted(spec.get("silos", ()))),
        selector=dict(spec.get("siloSelector", {}).get("matchLabels", {})),
        members=tuple(Member(m["name"], bool(m["trainable"])) for m in training.get("members", ())),
        communication_rounds=int(training.get("communicationRounds", 0)),
        quorum=Quorum(int(spec["quorum"]["minSilos"]), float(spec["quorum"]["stragglerTimeout"])),
        deadlines=Deadlines(float(spec["deadlines"]["start"]), float(spec["deadlines"]["active"])),
        stop_after=spec.get("stopAfter", ""),
        suspend=bool(spec.get("suspend", False)),
        ttl_after_finished=None if ttl is None else float(ttl),
        managed_by=spec.get("managedBy", MANAGED_BY),
        spec=spec,
    )
