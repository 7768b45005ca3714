"""What the checks of one verification share: the three parts, the keys, and the list of problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedgestalt.lineage.findings import Finding, Findings
from fedgestalt.lineage.manifest import Manifest
from fedgestalt.lineage.proof import NOWHERE, Coordinates, Proof
from fedgestalt.secagg.computation import Computation, need, quorum
from fedgestalt.secagg.kinds import Kind
from fedgestalt.secagg.messages import Message


@dataclass(frozen=True)
class Base:
    """What a computation says of the release that it builds on.

    Attributes:
        digest, epoch: hexadecimal.
        silos: those of that release's epoch: whose rows showed that they hold its bundle and key.
    """

    digest: str
    epoch: str
    silos: tuple[str, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Base | None:
        """Read ``base``; None if there is none.

        Raises:
            TypeError: malformed.
        """
        found = document.get("base")
        if found is None:
            return None
        if not isinstance(found, dict) or not isinstance(found.get("silos"), list):
            raise TypeError("base must be an object with digest, epoch and a list of silos")
        texts = [found.get("digest"), found.get("epoch"), *found["silos"]]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("digest, epoch and silos of base must be texts")
        return cls(found["digest"], found["epoch"], tuple(found["silos"]))


@dataclass
class Case:
    """One release under verification.

    Attributes:
        manifest, computation, proof: its parts, parsed.
        document: the computation as JSON, for what the protocol itself does not read.
        parent: the manifest of the release that this one continues, if the caller has it.
        found: problems so far.
        unpinned: what was taken on trust so far.
        table: the evaluation table (JSON bytes) once its digest was checked.
    """

    manifest: Manifest
    computation: Computation
    proof: Proof
    document: Mapping[str, Any]
    parent: Manifest | None = None
    found: Findings = field(default_factory=Findings)
    unpinned: list[str] = field(default_factory=list)
    table: bytes | None = None

    @property
    def trained(self) -> bool:
        """Whether the round trained; Adopt and Rotate keep the parent's models."""
        return self.manifest.operation == "Train"

    @property
    def adopting(self) -> bool:
        """Whether the round let newcomers into an epoch that there was already."""
        return self.manifest.operation == "Adopt"

    @property
    def base(self) -> Base | None:
        """``base`` of the computation; None without one."""
        return Base.of(self.document)

    @property
    def senders(self) -> tuple[str, ...]:
        """Silos whose rows this round closed; an Adopt round takes the other silos' from its parent."""
        closed = self.proof.hub(Kind.ROWS_CLOSED)
        return tuple(closed.body["silos"]) if closed is not None else ()

    @property
    def roster(self) -> tuple[str, ...]:
        """The manifest's roster, sorted."""
        return tuple(sorted(self.manifest.roster))

    @property
    def tau(self) -> int:
        """More than two thirds of the roster."""
        return quorum(len(self.roster))

    @property
    def need(self) -> int:
        """Silos with which a step of this roster goes on."""
        return need(len(self.roster), self.computation.min_silos)

    def hub(self, kind: Kind, at: Coordinates = NOWHERE) -> Message | None:
        """The hub's message there; its absence is a problem."""
        message = self.proof.hub(kind, at)
        if message is None:
            where = f" of {at[0]}, t = {at[1]}" if at[0] else ""
            self.missing(f"the hub's `{kind}`{where}")
        return message

    def missing(self, what: str) -> None:
        """Record that the proof lacks a message."""
        self.found.add(Finding.MESSAGE_MISSING, f"the proof lacks {what}: fetch the proof again")
