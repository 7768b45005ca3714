"""ParticipationGrant: what a hospital's data steward allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .conditions import seconds
from .meta import Metadata, expect_kind, parse_metadata
from .reasons import UsableReason
from .round import Operation

KIND = "ParticipationGrant"

CLOCK_TOLERANCE: Final = 300.0
"""Seconds by which the site's clock may be ahead before a grant counts as expired."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a round may ask for; None is not bounded. `active_seconds` bounds `deadlines.active`."""

    members: int | None = None
    communication_rounds: int | None = None
    local_epochs: int | None = None
    max_steps: int | None = None
    active_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class ImageDigest:
    """A workload image: `variant` names it, `digest` is `sha256:` and 64 hexadecimal digits."""

    variant: str
    digest: str


@dataclass(frozen=True, slots=True)
class ParticipationGrant:
    """A ParticipationGrant.

    `hub` and `peers` are fingerprints (SHA-256 of a raw Ed25519 public key, 64 hexadecimal digits), `not_after` is Unix
    time. `images` is empty and `image_signer` (PEM) None where the grant does not speak of them. `uses` is None where
    only `not_after` ends it.
    """

    metadata: Metadata
    hub: str
    operations: frozenset[Operation]
    purposes: frozenset[str]
    dataset: str
    peers: frozenset[str]
    min_silos: int
    not_after: float
    images: frozenset[ImageDigest]
    image_signer: str | None
    bounds: Bounds
    uses: int | None
    revoked: bool

    def usable(self, *, used: int, now: float) -> UsableReason:
        """Whether another enrolment may rest on this grant: `Granted`, or why not.

        Args:
            used: enrolments that the agent's ledger has counted for it.
            now: Unix time by the site's clock.
        """
        if self.revoked:
            return UsableReason.REVOKED
        if now > self.not_after + CLOCK_TOLERANCE:
            return UsableReason.EXPIRED
        if self.uses is not None and used >= self.uses:
            return UsableReason.USES_SPENT
        return UsableReason.GRANTED


def parse_grant(document: Mapping[str, Any]) -> ParticipationGrant:
    """Read a defaulted, validated ParticipationGrant.

    Raises:
        ValueError: the document is of another kind, or a time has no offset.
        KeyError: a required field is absent: the document was not validated.
    """
    expect_kind(document, KIND)
    spec = document["spec"]
    bounds = spec.get("bounds", {})
    return ParticipationGrant(
        metadata=parse_metadata(document),
        hub=spec["hub"],
        operations=frozenset(Operation(o) for o in spec["operations"]),
        purposes=frozenset(spec["purposes"]),
        dataset=spec["dataset"],
        peers=frozenset(spec["peers"]),
        min_silos=int(spec["minSilos"]),
        not_after=seconds(spec["notAfter"]),
        images=frozenset(ImageDigest(i["variant"], i["digest"]) for i in spec.get("images", ())),
        image_signer=spec.get("imageSigner"),
        bounds=Bounds(
            members=bounds.get("members"),
            communication_rounds=bounds.get("communicationRounds"),
            local_epochs=bounds.get("localEpochs"),
            max_steps=bounds.get("maxSteps"),
            active_seconds=bounds.get("activeSeconds"),
        ),
        uses=spec.get("uses"),
        revoked=bool(spec["revoked"]),
    )
