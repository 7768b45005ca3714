"""Conditions: a list-map on `type`, each with status, reason, time of change and observedGeneration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class ConditionType(StrEnum):
    """Condition types of a FederationRound."""

    SUCCEEDED = "Succeeded"
    SUSPENDED = "Suspended"


class SiloCondition(StrEnum):
    """Condition types of a Silo."""

    READY = "Ready"
    ACCEPTED = "Accepted"
    CONNECTED = "Connected"
    COMPATIBLE = "Compatible"


class TaskCondition(StrEnum):
    """Conditions of a SiloTask at its site."""

    CONNECTED = "Connected"


class ReleaseCondition(StrEnum):
    """Condition types of a Release."""

    PUBLISHED = "Published"
    ROTATION_DUE = "RotationDue"
    VERIFIED = "Verified"
    """At a site only; the others at the hub only."""


class GrantCondition(StrEnum):
    """Condition types of a ParticipationGrant."""

    USABLE = "Usable"


class EndpointCondition(StrEnum):
    """Condition types of an InferenceEndpoint."""

    VERIFIED = "Verified"
    LOADED = "Loaded"
    READY = "Ready"


class Truth(StrEnum):
    """A condition's status."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes times."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """The Unix time of an RFC 3339 time.

    Raises:
        ValueError: the text is no RFC 3339 time with an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC; write it as 2026-01-31T12:00:00Z")
    return moment.timestamp()


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `type` is of the kind's own enum; `since` is the Unix time at which `status` last changed."""

    type: StrEnum
    status: Truth
    reason: StrEnum
    message: str
    since: float
    generation: int

    def document(self) -> dict[str, Any]:
        """The condition as it stands in a resource's status."""
        return {
            "type": self.type.value,
            "status": self.status.value,
            "reason": self.reason.value,
            "message": self.message,
            "lastTransitionTime": timestamp(self.since),
            "observedGeneration": self.generation,
        }


def documents(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """Conditions in the order of their types, so that equal conditions make equal documents."""
    return [c.document() for c in sorted(conditions, key=lambda c: c.type.value)]
