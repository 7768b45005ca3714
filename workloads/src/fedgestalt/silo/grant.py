"""The ParticipationGrant: what a hospital's data steward allows, checked before anything runs at the site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from fedgestalt.crypto.keys import fingerprint

_TOLERANCE_SECONDS = 300.0


class GrantError(Exception):
    """The grant file itself is unusable."""


@dataclass(frozen=True)
class Grant:
    """A ParticipationGrant's spec."""

    hub: str
    operations: frozenset[str]
    purposes: frozenset[str]
    dataset: str
    peers: frozenset[str]
    min_silos: int
    not_after: float
    bounds: Mapping[str, int]
    revoked: bool

    def mismatches(
        self, computation: Mapping[str, Any], *, hub_key: bytes, silo: str, now: float
    ) -> list[str]:
        """Why a frozen computation does not fit this grant; empty when it does.

        The answers are readable by the coordinator, so they name the rule and the asked value, never the site's internals.
        """
        spec = computation["spec"]
        problems = []
        if self.revoked:
            problems.append("GrantRevoked: the data steward revoked the grant")
        if now > self.not_after + _TOLERANCE_SECONDS:
            problems.append("GrantExpired: the grant's notAfter has passed")
        if fingerprint(hub_key).hex() != self.hub:
            problems.append("HubNotGranted: the grant names another hub key")
        if spec["operation"] not in self.operations:
            problems.append(f"OperationNotGranted: {spec['operation']}")
        if spec["purpose"] not in self.purposes:
            problems.append(f"PurposeNotGranted: {spec['purpose']}")
        if spec["dataset"] != self.dataset:
            problems.append(f"DatasetNotGranted: {spec['dataset']}")
        if spec["quorum"]["minSilos"] < self.min_silos:
            problems.append(
                f"QuorumTooSmall: minSilos {spec['quorum']['minSilos']} is below the grant's {self.min_silos}"
            )
        asked = _asked(spec.get("training", {}))
        problems.extend(
            f"BoundExceeded: {name} {asked[name]} > {most}"
            for name, most in sorted(self.bounds.items())
            if asked[name] > most
        )
        problems.extend(
            f"PeerNotGranted: {name}"
            for name, identity in sorted(computation["silos"].items())
            if name != silo and fingerprint(bytes.fromhex(identity)).hex() not in self.peers
        )
        return problems


_FIELDS = {"hub", "operations", "purposes", "dataset", "peers", "minSilos", "notAfter", "bounds", "revoked"}


def _asked(training: Mapping[str, Any]) -> dict[str, int]:
    """What a training section asks of a site, by the names of a grant's bounds."""
    members = training.get("members", ())
    return {
        "members": len(members),
        "communicationRounds": training.get("communicationRounds", 0),
        "localEpochs": training.get("localEpochs", 0),
        "maxSteps": max((member.get("maxSteps", 0) for member in members), default=0),
    }


def load_grant(path: Path) -> Grant:
    """Read a ParticipationGrant document (YAML).

    Raises:
        GrantError: it is absent, no YAML, or a field is missing; the message names file and field.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise GrantError(f"{path}: {error.strerror}. Without a grant nothing runs at this site.") from error
    except yaml.YAMLError as error:
        raise GrantError(f"{path}: not YAML ({error}).") from error
    try:
        spec = document["spec"]
        not_after = spec["notAfter"]
        if isinstance(not_after, str):
            not_after = datetime.fromisoformat(not_after)
        bounds = spec.get("bounds", {})
        # A condition that is not checked here must not look as if it were.
        unchecked = [f"spec.{name}" for name in sorted(spec.keys() - _FIELDS)]
        unchecked += [f"spec.bounds.{name}" for name in sorted(bounds.keys() - _asked({}).keys())]
        if unchecked:
            raise GrantError(
                f"{path}: {', '.join(unchecked)}: this version does not check it, so the grant is not used; remove it"
            )
        return Grant(
            hub=spec["hub"],
            operations=frozenset(spec["operations"]),
            purposes=frozenset(spec["purposes"]),
            dataset=spec["dataset"],
            peers=frozenset(spec["peers"]),
            min_silos=int(spec["minSilos"]),
            not_after=not_after.timestamp(),
            bounds={name: int(most) for name, most in bounds.items()},
            revoked=bool(spec.get("revoked", False)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GrantError(f"{path}: field {error} is missing or malformed.") from error
