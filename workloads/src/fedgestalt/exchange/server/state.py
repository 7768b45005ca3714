"""What all routes share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fedgestalt.crypto.keys import SigningKey
from fedgestalt.exchange.registry import Registry
from fedgestalt.exchange.server.waiting import Waiting
from fedgestalt.exchange.storage import BoardStorage
from fedgestalt.exchange.tokens import TokenVerifier


@dataclass(frozen=True)
class ServerSettings:
    """What an exchange is told.

    Attributes:
        hub_key: signs receipts; its public half verifies the hub's tokens and messages.
        silos: the registry file (:mod:`fedgestalt.exchange.registry`).
        clock: seconds since the Unix epoch.
    """

    hub_key: SigningKey
    silos: Path
    clock: Callable[[], float] = time.time


@dataclass
class Presence:
    """When each silo was last heard; in memory, so ``since`` says from when it could be known."""

    since: float
    heard: dict[str, float] = field(default_factory=dict)
    version: dict[str, str] = field(default_factory=dict)


CHANGES: Final = "changes"
"""What waiters for the change feed wait for."""


@dataclass
class ServerState:
    """The shared parts, made once per application."""

    settings: ServerSettings
    storage: BoardStorage
    registry: Registry
    waiting: Waiting
    presence: Presence
    # Per round: the silos of its computation with their identities. Written once, so it never changes.
    rosters: dict[str, dict[str, bytes]] = field(default_factory=dict)
    # (round, enrolment, silo) -> delegated signing key, from accepted `enrol` messages; write-once as well.
    delegated: dict[tuple[str, int, str], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokens = TokenVerifier(self.hub_public)

    def forget(self, round_uid: str) -> None:
        """Free what is remembered of a round to save reading it again; whoever asks once more reads it from the board."""
        self.rosters.pop(round_uid, None)
        for key in [key for key in list(self.delegated) if key[0] == round_uid]:
            self.delegated.pop(key, None)

    @property
    def hub_public(self) -> bytes:
        """The hub's public key, 32 bytes."""
        return self.settings.hub_key.public
