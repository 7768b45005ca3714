"""Whether a frozen computation fits what a data steward allowed: pure, the same for agent and operator.

Answers are read by the coordinator. They name a rule, what the round asked and, where only that tells how to mend it, the
limit; never the name of a grant, nor what else it allows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..api.grant import Bounds, ImageDigest, ParticipationGrant
from ..api.reasons import GrantReason, UsableReason
from ..api.round import Operation


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that does not fit: its closed reason, and what was asked."""

    reason: GrantReason
    what: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.what}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The grant under which a round runs; None with the mismatches of the one that came closest."""

    grant: ParticipationGrant | None
    mismatches: tuple[Mismatch, ...] = ()


NO_GRANT = Mismatch(GrantReason.NO_GRANT, "this site has no usable grant, so nothing runs here")
_ENDED: Mapping[UsableReason, Mismatch] = {
    UsableReason.REVOKED: Mismatch(GrantReason.REVOKED, "the data steward revoked the grant"),
    UsableReason.EXPIRED: Mismatch(GrantReason.EXPIRED, "the grant's notAfter has passed"),
    UsableReason.USES_SPENT: Mismatch(GrantReason.USES_SPENT, "the grant allows no more enrolments"),
}


def mismatches(
    grant: ParticipationGrant,
    computation: Mapping[str, Any],
    *,
    hub_fingerprint: str,
    silo: str,
    used: int,
    now: float,
) -> tuple[Mismatch, ...]:
    """Why a computation does not fit a grant; empty where it does.

    Args:
        computation: the frozen computation. It comes from the hub and was not validated: what is missing or of another
            type than it should be does not fit.
        hub_fingerprint: of the signing key that the site has pinned, 64 hexadecimal digits.
        silo: the site's own name.
        used: enrolments counted or under way under this grant, this round's own left out.
        now: Unix time by the site's clock.
    """
    spec = _mapping(computation.get("spec"))
    standing = grant.usable(used=used, now=now)
    found = [] if standing is UsableReason.GRANTED else [_ENDED[standing]]
    if hub_fingerprint != grant.hub:
        found.append(Mismatch(GrantReason.HUB, "the grant is for another hub's key"))
    for reason, name, allowed in (
        (GrantReason.OPERATION, "operation", grant.operations),
        (GrantReason.PURPOSE, "purpose", grant.purposes),
        (GrantReason.DATASET, "dataset", {grant.dataset}),
    ):
        asked = spec.get(name)
        if not isinstance(asked, str) or asked not in allowed:
            found.append(Mismatch(reason, _shown(asked)))
    least = _mapping(spec.get("quorum")).get("minSilos")
    if type(least) is not int or least < grant.min_silos:
        found.append(
            Mismatch(GrantReason.QUORUM, f"minSilos is {_shown(least)}, at least {grant.min_silos} is needed")
        )
    found += _bounds(grant.bounds, spec)
    found += _peers(grant.peers, _mapping(computation.get("silos")), silo)
    found += _images(grant, _mapping(spec.get("software")).get("images", ()))
    return tuple(found)


def choose(
    grants: Iterable[ParticipationGrant],
    computation: Mapping[str, Any],
    *,
    hub_fingerprint: str,
    silo: str,
    used: Callable[[ParticipationGrant], int],
    now: float,
) -> Choice:
    """The first grant, by name, that a computation fits; else what the closest one, with the fewest mismatches, lacks.

    `used` gives the enrolments counted or under way under a grant, this round's own left out.
    """
    closest: tuple[Mismatch, ...] = ()
    for grant in sorted(grants, key=lambda g: g.metadata.name):
        found = mismatches(
            grant, computation, hub_fingerprint=hub_fingerprint, silo=silo, used=used(grant), now=now
        )
        if not found:
            return Choice(grant)
        if not closest or len(found) < len(closest):
            closest = found
    return Choice(None, closest or (NO_GRANT,))


def unusable(grants: Iterable[tuple[ParticipationGrant, int]], *, now: float) -> Mismatch | None:
    """Why no round at all may enrol now; None as soon as one grant, given with its counted uses, can be used.

    Where all have ended, the last one by name speaks: names that grow by year put the latest there.
    """
    found = NO_GRANT
    for grant, used in sorted(grants, key=lambda g: g[0].metadata.name):
        standing = grant.usable(used=used, now=now)
        if standing is UsableReason.GRANTED:
            return None
        found = _ENDED[standing]
    return found


def ended(grant: ParticipationGrant | None, *, active: float) -> Mismatch | None:
    """Why a round that runs under a grant must stop; None while it may go on.

    Neither the grant's end nor spent uses stop what was begun in time: the data steward's revocation does, and so does
    the bound on the time that a round may take.

    Args:
        grant: as it stands now; None where it is gone, which is as good as revoked.
        active: seconds since the enrolment stood, by the site's clock.
    """
    if grant is None or grant.revoked:
        return _ENDED[UsableReason.REVOKED]
    most = grant.bounds.active_seconds
    if most is not None and active > most:
        return Mismatch(GrantReason.BOUND, f"activeSeconds: the round has taken more than {most}")
    return None


def _bounds(bounds: Bounds, spec: Mapping[str, Any]) -> list[Mismatch]:
    training = _mapping(spec.get("training"))
    listed = training.get("members")
    members = [_mapping(m) for m in listed] if isinstance(listed, list | tuple) else []
    asked: list[tuple[str, int | None, Any]] = [("members", bounds.members, len(members))]
    if "deadlines" in spec:  # not frozen, since it may grow: that the bound is kept to is `ended`'s to say
        asked.append(("activeSeconds", bounds.active_seconds, _mapping(spec["deadlines"]).get("active")))
    if spec.get("operation") == Operation.TRAIN:
        steps = [m.get("maxSteps") for m in members if m.get("trainable", True)]
        asked += [
            ("communicationRounds", bounds.communication_rounds, training.get("communicationRounds")),
            ("localEpochs", bounds.local_epochs, training.get("localEpochs")),
            ("maxSteps", bounds.max_steps, _most(steps)),
        ]
    return [
        Mismatch(GrantReason.BOUND, f"{name} is {_shown(value)}, at most {most} is granted")
        for name, most, value in asked
        if most is not None and (type(value) is not int or value > most)
    ]


def _most(values: Sequence[Any]) -> int | None:
    """The largest number; None where one is none, for then nothing bounds it."""
    return max(values, default=0) if all(type(v) is int for v in values) else None


def _peers(peers: frozenset[str], silos: Mapping[str, Any], own: str) -> list[Mismatch]:
    return [
        Mismatch(GrantReason.PEER, _shown(name))
        for name, identity in sorted(silos.items())
        if name != own and _fingerprint(identity) not in peers
    ]


def _images(grant: ParticipationGrant, images: Any) -> list[Mismatch]:
    if grant.image_signer is not None:
        return [
            Mismatch(
                GrantReason.SIGNER_UNCHECKED,
                "this version cannot verify image signatures yet; a grant that lists the images can be used",
            )
        ]
    if not grant.images:
        return []
    named = [_mapping(image) for image in images] if isinstance(images, list | tuple) else []
    if not named:
        return [Mismatch(GrantReason.IMAGE, "the round names no images by digest in spec.software.images")]
    return [
        Mismatch(GrantReason.IMAGE, f"{_shown(image.get('variant'))} {_shown(image.get('digest'))}")
        for image in named
        if ImageDigest(str(image.get("variant")), str(image.get("digest"))) not in grant.images
    ]


def _fingerprint(identity: Any) -> str:
    try:
        return hashlib.sha256(bytes.fromhex(identity)).hexdigest()
    except (TypeError, ValueError):
        return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _shown(value: Any) -> str:
    """What was asked, short enough for a status."""
    return "not given" if value is None else str(value)[:100]
