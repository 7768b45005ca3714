"""Clusters of undiagnosed cases: found by the hub, each owner told its own part and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.epochs.service import EpochService
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.epochs.tombstone import Tombstone
from fedgestalt.exchange.epochs.values import Budget
from fedgestalt.exchange.errors import Code, EpochUnknownError, RefusedError
from fedgestalt.flake.rows import GalleryRows, SiloRows, TestRows, UndiagnosedRows

from .epoch_rows import EPOCH, FIRST, PRINT, RELEASE, handle, table, unit

WIDTH = 64
SILOS = {name: Identity.from_seed(name.encode().ljust(32)) for name in FIRST}


def rows(name: str) -> SiloRows:
    """A gallery of strangers; the last of three undiagnosed cases looks alike in every silo."""
    alike = unit(99, 1, WIDTH)[0]
    gallery, lonely = unit(FIRST[name], 60, WIDTH), unit(FIRST[name] + 7, 2, WIDTH)
    near = alike + 0.05 * unit(FIRST[name] + 2, 1, WIDTH)[0]
    undiagnosed = np.vstack([lonely, near / np.linalg.norm(near)])
    names = table([FIRST[name] + k for k in range(63)])
    return SiloRows(
        PRINT,
        1,
        GalleryRows(gallery, table([k % 30 for k in range(60)]), names[:60], np.ones(60, np.uint32)),
        TestRows(gallery[:0], names[:0], np.empty(0, np.uint32)),
        UndiagnosedRows(undiagnosed, names[60:]),
    )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[EpochService]:
    store = EpochStore(tmp_path / "epochs")
    made = EpochService(store)
    made.open(EPOCH, RELEASE, {n: k.public for n, k in SILOS.items()}, Budget(10_000, 10), now=1.0)
    for name in SILOS:
        made.ingest(EPOCH, name, "00" * 32, rows(name).encode(), now=1.0)
    yield made
    store.close()


def told(service: EpochService, name: str) -> list[dict[str, object]]:
    return service.findings(EPOCH, name, SILOS[name].public)


def test_each_owner_learns_of_its_own_case_and_of_no_other(service: EpochService) -> None:
    assert service.discover(EPOCH) == 1
    handles = set()
    for name in SILOS:
        (finding,) = told(service, name)
        assert finding["mine"] == [handle(FIRST[name] + 62).hex()]
        assert finding["owners"] == [3, 4]
        others = {handle(FIRST[other] + 62).hex() for other in SILOS if other != name}
        assert not any(other in str(finding) for other in others)
        handles.add(finding["handle"])
    assert len(handles) == 3, "each owner has a name of its own for the cluster"


def test_looking_again_says_the_same_after_a_restart(service: EpochService) -> None:
    service.discover(EPOCH)
    before = told(service, "east")
    again = EpochService(EpochStore(service.store.directory))
    assert again.findings(EPOCH, "east", SILOS["east"].public) == before
    again.discover(EPOCH)
    assert told(again, "east") == before
    again.store.close()


def test_a_withdrawal_takes_the_findings_with_it(service: EpochService) -> None:
    service.discover(EPOCH)
    tombstone = Tombstone(EPOCH, "west", (handle(FIRST["west"] + 62),))
    service.withdraw(tombstone, tombstone.sign(SILOS["west"]), SILOS["west"].public, now=2.0)
    assert told(service, "east") == []
    assert service.discover(EPOCH) == 0, "two owners are no cluster"


def test_only_members_are_told(service: EpochService) -> None:
    service.discover(EPOCH)
    with pytest.raises(RefusedError, check=lambda error: error.code is Code.NOT_IN_EPOCH):
        service.findings(EPOCH, "east", SILOS["west"].public)
    with pytest.raises(EpochUnknownError):
        service.discover("ff" * 32)
