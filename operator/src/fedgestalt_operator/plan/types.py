"""What the planner sees (`Observed`) and says (`Plan`). Times are Unix seconds of the hub's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..api.reasons import GrantReason
from ..api.task import TaskKind, TaskPhase


@dataclass(frozen=True, slots=True)
class Entry:
    """One message on the board. `attempt` is the aggregation try; `complete` says whether its blobs are all
    there.
    """

    seq: int
    received: float
    enrolment: int
    member: str
    t: int
    attempt: int
    kind: str
    sender: str
    body: Mapping[str, Any]
    complete: bool = True


class JobPhase(StrEnum):
    """Where a Job of the hub stands."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Pending:
    """A Job whose pod does not run yet, and why.

    `since`: from when its time to start runs; None while a queue holds it back, for then its turn has not come.
    """

    since: float | None
    why: str


@dataclass(frozen=True, slots=True)
class JobState:
    """A Job of the hub. `result` is the JSON object that it wrote at its end.

    `pending` belongs to the phase Running, which a Job has from its creation on: its pod has not begun.
    """

    phase: JobPhase
    result: Mapping[str, Any] = field(default_factory=dict)
    started: float = 0.0
    finished: float | None = None
    pending: Pending | None = None


@dataclass(frozen=True, slots=True)
class SiloState:
    """A registered silo. `last_heard` is None before its first word; `identity` is its valid key in
    hexadecimal.
    """

    last_heard: float | None
    accepted: bool = True
    version: str = ""
    identity: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskState:
    """A SiloTask as its site last reported it; `fraction` in [0, 1]."""

    phase: TaskPhase
    reason: str = ""
    fraction: float = 0.0
    message: str = ""
    causes: tuple[GrantReason, ...] = ()
    """Which rules of the site's grants the round does not fit, where that is the reason."""


@dataclass(frozen=True, slots=True)
class BaseRelease:
    """The release that a round builds on, as the hub's release store holds it.

    `digest` (hexadecimal) names it; `manifest` and `computation` are its JSON documents. `successor` is a release that
    took its place: newcomers adopted it in the same epoch, or a rotation ended that epoch; empty if there is none.
    """

    digest: str
    manifest: Mapping[str, Any]
    computation: Mapping[str, Any]
    successor: str = ""

    @property
    def epoch(self) -> str:
        """The epoch of its frame and keys, hexadecimal."""
        return str(self.manifest["epoch"])

    @property
    def silos(self) -> tuple[str, ...]:
        """The silos that hold its bundle and its epoch's keys: those whose rows showed it."""
        return tuple(sorted(self.manifest["rows"]))


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that is known of one round.

    `computation` is the JSON of blob 0, once it is on the board; `dropped` are the digests (hexadecimal) of
    masked blobs that the exchange no longer holds. An executor that forgets `dropped` repeats harmless
    deletions, nothing worse. `base` is the release that spec.base names, if the hub has it. `published` says whether
    the round's own release is in the hub's store, `vocabulary` whether the hub has the vocabulary that spec names.
    """

    entries: tuple[Entry, ...] = ()
    jobs: Mapping[str, JobState] = field(default_factory=dict)
    silos: Mapping[str, SiloState] = field(default_factory=dict)
    tasks: Mapping[str, TaskState] = field(default_factory=dict)
    computation: Mapping[str, Any] | None = None
    dropped: frozenset[str] = frozenset()
    base: BaseRelease | None = None
    published: bool = False
    vocabulary: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """A message for the hub to sign and post. `blobs` are uploaded first; their digests are the message's
    blobs.
    """

    enrolment: int
    member: str
    t: int
    attempt: int
    kind: str
    body: Mapping[str, Any]
    blobs: tuple[bytes, ...] = ()

    @property
    def slot(self) -> tuple[int, str, int, int, str]:
        """The coordinates in which only one decision can stand."""
        return (self.enrolment, self.member, self.t, self.attempt, self.kind)


class JobKind(StrEnum):
    """Workloads of the hub."""

    AGGREGATE = "aggregate"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create the Job `name` once; AlreadyExists with our uid label is success. `parameters` are strings and
    integers.
    """

    name: str
    kind: JobKind
    parameters: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class EnsureTask:
    """Create the SiloTask `name` if it is absent."""

    name: str
    silo: str
    kind: TaskKind
    attempt: int
    digest: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DropBlobs:
    """Delete blobs (digests in hexadecimal) that no one needs again. Deleting an absent one is success."""

    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a finished Job whose outcome stands on the board."""

    name: str


@dataclass(frozen=True, slots=True)
class DeleteRound:
    """Delete the finished round: its ttlAfterFinished has passed. Its Release and its board stay."""


@dataclass(frozen=True, slots=True)
class PublishRelease:
    """Keep the release `digest` (hexadecimal) beyond its round: manifest, proof, sealed bundle; the gallery goes to the
    query service, test rows go nowhere.
    """

    digest: str


Action = CreateJob | EnsureTask | DropBlobs | DeleteJob | DeleteRound | PublishRelease


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that is waited for: whose move it is, what it is, since when, until when, and what follows
    then.
    """

    who: str
    what: str
    since: float
    until: float | None
    then: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to post, then what to do, then what to show, and when to plan again (None: never)."""

    decisions: tuple[Decision, ...]
    actions: tuple[Action, ...]
    status: Mapping[str, Any]
    requeue_after: float | None
