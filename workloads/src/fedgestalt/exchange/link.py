"""What travels beside the board: tasks down, their status up, and when silos were last heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedgestalt.exchange.errors import UntrustedExchangeError


@dataclass(frozen=True, slots=True)
class SiloTaskDocument:
    """A task as it lies on the exchange; ``spec`` is the hub's, ``status`` the silo's."""

    name: str
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    revision: int
    silo: str = ""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task for a silo; ``spec.roundUID`` names its round."""

    silo: str
    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReleaseDocument:
    """A Release as it lies on the exchange: name and spec of the hub's resource."""

    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """Uids of rounds that changed, and the revision to ask from next time.

    ``everything``: the exchange cannot tell what changed since the revision that was asked from.
    """

    rounds: frozenset[str]
    revision: int
    everything: bool


@dataclass(frozen=True, slots=True)
class SiloPresence:
    """What the exchange knows of a silo; times in seconds by its clock.

    Attributes:
        identities: public keys, 32 bytes each.
        last_heard: None: not since the exchange started at ``serving_since``.
        now: the exchange's clock when it answered.
    """

    name: str
    identities: tuple[bytes, ...]
    accepted: bool
    version: str
    last_heard: float | None
    serving_since: float
    now: float


def parse_tasks(content: Any) -> list[SiloTaskDocument]:
    """Read a listing of tasks.

    Raises:
        UntrustedExchangeError: malformed.
    """
    try:
        return [
            SiloTaskDocument(
                name=item["name"],
                spec=dict(item["spec"]),
                status=dict(item["status"]),
                revision=int(item["revision"]),
                silo=item.get("silo", ""),
            )
            for item in content["tasks"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UntrustedExchangeError("the exchange's listing of tasks is malformed") from error


def parse_releases(content: Any) -> tuple[list[ReleaseDocument], int]:
    """Read a listing of releases and its revision.

    Raises:
        UntrustedExchangeError: malformed.
    """
    try:
        releases = [ReleaseDocument(str(item["name"]), dict(item["spec"])) for item in content["releases"]]
        return releases, int(content["revision"])
    except (KeyError, TypeError, ValueError) as error:
        raise UntrustedExchangeError("the exchange's listing of releases is malformed") from error


def parse_changes(content: Any) -> Changes:
    """Read an answer of the change feed.

    Raises:
        UntrustedExchangeError: malformed.
    """
    try:
        rounds = frozenset(str(uid) for uid in content["rounds"])
        return Changes(rounds, int(content["revision"]), bool(content["everything"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UntrustedExchangeError("the exchange's answer on changes is malformed") from error


def parse_silos(content: Any) -> list[SiloPresence]:
    """Read a listing of silos.

    Raises:
        UntrustedExchangeError: malformed.
    """
    try:
        return [
            SiloPresence(
                name=item["name"],
                identities=tuple(bytes.fromhex(key) for key in item["identities"]),
                accepted=item["accepted"],
                version=item["version"],
                last_heard=None if item["lastHeard"] is None else float(item["lastHeard"]),
                serving_since=float(content["servingSince"]),
                now=float(content["now"]),
            )
            for item in content["silos"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UntrustedExchangeError("the exchange's listing of silos is malformed") from error
