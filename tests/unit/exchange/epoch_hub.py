"""The query service over a folder, for tests of what it keeps and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.epochs.service import EpochService
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.epochs.tombstone import Tombstone
from fedgestalt.exchange.epochs.values import Budget, Taken
from fedgestalt.exchange.errors import (
    Code,
    RefusedError,
)
from fedgestalt.flake.rows import SiloRows

from .epoch_rows import EPOCH, FIRST, RELEASE, handle, upload

KEYS = {name: Identity.from_seed(name.encode().ljust(32, b"\0")) for name in FIRST}
MEMBERS = {name: key.public for name, key in KEYS.items()}
NOW = 1_000_000.0


class Hub:
    """A service over a directory that can be closed and opened again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.service = EpochService(EpochStore(directory))
        self.asked = 0

    def restart(self) -> None:
        self.service.store.close()
        self.service = EpochService(EpochStore(self.directory))

    def open(self, *members: str, budget: Budget | None = None) -> tuple[str, ...]:
        chosen = {name: MEMBERS[name] for name in members or MEMBERS}
        return self.service.open(EPOCH, RELEASE, chosen, budget or Budget(), now=NOW)

    def ingest(self, name: str, rows: SiloRows, digest: str = "") -> Taken:
        return self.service.ingest(EPOCH, name, digest or f"{name}-1", rows.encode(), now=NOW)

    def add(self, name: str, rows: SiloRows) -> Taken:
        return self.service.add(EPOCH, name, MEMBERS[name], rows.encode(), now=NOW)

    def ask(self, name: str, row: np.ndarray, *, key: int | None = None, now: float = NOW) -> list[int]:
        self.asked += 1
        secret = (key if key is not None else self.asked + 1000).to_bytes(32, "big")
        answered = self.service.ask(EPOCH, name, MEMBERS[name], row.tobytes(), secret, now=now)
        return [int.from_bytes(match.handle, "big") for match in answered.matches]

    def withdraw(self, name: str, *numbers: int) -> int:
        tombstone = Tombstone(EPOCH, name, tuple(sorted(map(handle, numbers))))
        return self.service.withdraw(tombstone, tombstone.sign(KEYS[name]), MEMBERS[name], now=NOW)

    def spent(self, name: str) -> tuple[int, int]:
        used = self.service.store.full_record(EPOCH)[1][name]
        return used.rows, used.queries

    def causes(self) -> list[tuple[str, str]]:
        return [(due.cause, due.silo) for due in self.service.store.record(EPOCH).rotation_due]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "epochs")
    yield made
    made.service.store.close()


@pytest.fixture
def filled(hub: Hub) -> Hub:
    """Three members with 20 diagnosed cases each, three tests and two undiagnosed cases."""
    hub.open()
    for name in FIRST:
        hub.ingest(name, upload(name, test=3, undiagnosed=2))
    return hub


def refusal(code: Code) -> pytest.RaisesExc[RefusedError]:
    return pytest.raises(RefusedError, check=lambda error: error.code is code)
