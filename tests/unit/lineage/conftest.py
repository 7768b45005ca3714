"""One real round for the whole room: it takes a second, and nothing below changes it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fedgestalt.lineage import collect
from fedgestalt.secagg.messages import Message
from fedgestalt_operator.api.round import Operation

from .federation import ReleasingHub


@dataclass(frozen=True)
class Released:
    """The three files of a release, the keys to pin, and the board behind them."""

    manifest: bytes
    computation: bytes
    proof: bytes
    hub_key: bytes
    identities: dict[str, bytes]
    board: tuple[Message, ...]
    hub: ReleasingHub


def released(hub: ReleasingHub) -> Released:
    """What a finished round leaves."""
    return Released(
        hub.manifest,
        hub.blob0,
        collect(hub.messages),
        hub.key.public,
        {name: agent.identity.public for name, agent in hub.agents.items()},
        tuple(hub.messages),
        hub,
    )


@pytest.fixture(scope="session")
def release() -> Released:
    """A release of four silos, nobody lost."""
    return released(ReleasingHub(4).release())


@pytest.fixture(scope="session")
def adopted(release: Released) -> Released:
    """A fifth silo adopts that release."""
    return released(ReleasingHub(5, operation=Operation.ADOPT, base=release.hub).release())


@pytest.fixture(scope="session")
def rotated(release: Released) -> Released:
    """The first three of its silos rotate it; the fourth has departed."""
    return released(ReleasingHub(3, operation=Operation.ROTATE, base=release.hub).release())
