"""Who a silo is within an enrolment that stands: its keys, its peers and the way it writes messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedgestalt.crypto.keys import AgreementKey, Rng, SigningKey
from fedgestalt.secagg.computation import need, quorum
from fedgestalt.secagg.context import Peer
from fedgestalt.secagg.effects import Effect, Fault, Post, SecretStore
from fedgestalt.secagg.kinds import FaultReason, Kind
from fedgestalt.secagg.messages import Message, Slot, sign

Coordinates = tuple[str, int, int]
"""Member, t, try."""


@dataclass
class Pen:
    """Signs a silo's messages and remembers where it has posted a fault: one slot, one fault."""

    round: str
    enrolment: int
    name: str
    key: SigningKey = field(repr=False)
    faulted: set[Coordinates] = field(default_factory=set)

    def slot(self, kind: Kind, at: Coordinates = ("", 0, 0)) -> Slot:
        """The silo's own slot of ``kind``."""
        return Slot(self.round, self.enrolment, *at, kind, self.name)

    def write(
        self, kind: Kind, body: Mapping[str, Any], at: Coordinates = ("", 0, 0), blobs: Iterable[str] = ()
    ) -> Message:
        """A signed message."""
        return sign(self.slot(kind, at), body, blobs, self.key)

    def post(self, kind: Kind, body: Mapping[str, Any], at: Coordinates = ("", 0, 0)) -> Post:
        """A signed message to post."""
        return Post(self.write(kind, body, at))

    def fault(self, reason: FaultReason, detail: str, at: Coordinates = ("", 0, 0)) -> list[Effect]:
        """Tell the agent, and the board unless it knows of a fault here already."""
        effects: list[Effect] = []
        if at not in self.faulted:
            self.faulted.add(at)
            effects.append(self.post(Kind.FAULT, {"reason": str(reason), "detail": detail[:1000]}, at))
        effects.append(Fault(reason, detail, self.slot(Kind.FAULT, at)))
        return effects


@dataclass(frozen=True)
class Party:
    """A silo of a closed roster that holds the keys of its round.

    Attributes:
        pen: writes its messages.
        sealing: its X25519 key of this enrolment.
        peers: the roster, own entry included, in order of names.
        h: hash of the enrolment.
        run_key: K_run.
        min_silos: the least number of silos in any sum.
        store: durable memory.
        rng: source of the roots of tries.
    """

    pen: Pen
    sealing: AgreementKey
    peers: Mapping[str, Peer]
    h: bytes
    run_key: bytes = field(repr=False)
    min_silos: int
    store: SecretStore
    rng: Rng

    @property
    def name(self) -> str:
        """The silo."""
        return self.pen.name

    @property
    def roster(self) -> tuple[str, ...]:
        """All silos, sorted."""
        return tuple(self.peers)

    @property
    def tau(self) -> int:
        """Signatures over a survivor set, shares of a secret and equal model hashes that are enough."""
        return quorum(len(self.peers))

    @property
    def need(self) -> int:
        """The least size of a key set, of the senders and of the survivors."""
        return need(len(self.peers), self.min_silos)

    def key(self, *parts: object) -> str:
        """A key of the store that belongs to this enrolment."""
        return "/".join(["secagg", self.pen.round, str(self.pen.enrolment), *map(str, parts)])

    def ledger_key(self, member: str, t: int) -> str:
        """The store's key for the survivor set of (round, member, t), which outlives enrolments and
        secrets."""
        return f"ledger/{self.pen.round}/{member}/{t}"
