"""Clusters of undiagnosed cases: found by the hub, each owner told its own part and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.epochs.service import EpochService
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.epochs.tombstone import Tombstone
from fedgestalt.exchange.epochs.values import Budget
from fedgestalt.exchange.errors import Code, EpochUnknownError, RefusedError
from fedgestalt.flake.discovery import discover
from fedgestalt.flake.finding import Cluster
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


def withdraw(service: EpochService, name: str, number: int) -> None:
    """Withdraw the case of that number: below 60 they have a diagnosis, 62 is in the cluster."""
    tombstone = Tombstone(EPOCH, name, (handle(FIRST[name] + number),))
    service.withdraw(tombstone, tombstone.sign(SILOS[name]), SILOS[name].public, now=2.0)


def look_due(service: EpochService) -> bool:
    return service.store.record(EPOCH).look_due


def test_a_withdrawal_takes_the_findings_of_its_case_with_it(service: EpochService) -> None:
    service.discover(EPOCH)
    withdraw(service, "west", 62)
    assert [told(service, name) for name in SILOS] == [[], [], []]
    assert service.discover(EPOCH) == 0, "two owners are no cluster"


@pytest.mark.parametrize("number", [0, 60])
def test_a_withdrawal_of_another_case_leaves_the_findings_there_after_the_next_look_too(
    service: EpochService, number: int
) -> None:
    service.discover(EPOCH)
    before = {name: told(service, name) for name in SILOS}
    withdraw(service, "west", number)
    assert {name: told(service, name) for name in SILOS} == before
    assert service.discover(EPOCH) == 1
    after = {name: told(service, name) for name in SILOS}
    assert [f["handle"] for (f,) in after.values()] == [f["handle"] for (f,) in before.values()]
    assert [f["mine"] for (f,) in after.values()] == [f["mine"] for (f,) in before.values()]


def test_a_look_is_due_after_a_withdrawal_and_only_where_somebody_has_looked(service: EpochService) -> None:
    withdraw(service, "west", 0)
    assert not look_due(service)
    service.discover(EPOCH)
    assert not look_due(service)
    withdraw(service, "west", 1)
    assert look_due(service)
    withdraw(service, "west", 1)
    service.discover(EPOCH)
    assert not look_due(service)
    withdraw(service, "west", 1)
    assert not look_due(service), "it was said before, and nothing went"


def test_a_look_that_a_kill_cut_short_is_due(service: EpochService) -> None:
    service.store.begin_look(EPOCH)
    assert look_due(service)


def test_a_silo_that_departs_takes_the_findings_of_its_cases_with_it(service: EpochService) -> None:
    service.discover(EPOCH)
    staying = {name: key.public for name, key in SILOS.items() if name != "west"}
    service.open(EPOCH, RELEASE, staying, Budget(10_000, 10), now=2.0)
    assert told(service, "east") == []
    assert look_due(service)


def during(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Have something happen at the end of each look, before what was found is kept."""
    looks = count(1)

    def slow(*arguments: Any, **more: Any) -> list[Cluster]:
        found = discover(*arguments, **more)
        act(next(looks))
        return found

    monkeypatch.setattr("fedgestalt.exchange.epochs.service.discover", slow)


def test_a_case_that_is_withdrawn_during_a_look_is_told_to_nobody(
    service: EpochService, monkeypatch: pytest.MonkeyPatch
) -> None:
    during(monkeypatch, lambda look: withdraw(service, "west", 62) if look == 1 else None)
    assert service.discover(EPOCH) == 0, "it was looked for anew, without the case"
    assert [told(service, name) for name in SILOS] == [[], [], []]
    assert not look_due(service)


def test_a_withdrawal_during_a_look_does_not_keep_other_clusters_from_being_told(
    service: EpochService, monkeypatch: pytest.MonkeyPatch
) -> None:
    during(monkeypatch, lambda look: withdraw(service, "west", 0) if look == 1 else None)
    assert service.discover(EPOCH) == 1
    assert len(told(service, "east")) == 1


def test_if_cases_go_all_the_time_the_next_look_is_left_to_the_hub(
    service: EpochService, monkeypatch: pytest.MonkeyPatch
) -> None:
    during(monkeypatch, lambda look: withdraw(service, "west", look))
    assert service.discover(EPOCH) == 0
    assert told(service, "east") == []
    assert look_due(service)


def test_more_undiagnosed_rows_than_can_be_compared_are_a_refusal(
    service: EpochService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedgestalt.flake.discovery.MOST_ROWS", 8)
    with pytest.raises(RefusedError, check=lambda error: error.code is Code.ROWS_INVALID):
        service.discover(EPOCH)


def test_only_members_are_told(service: EpochService) -> None:
    service.discover(EPOCH)
    with pytest.raises(RefusedError, check=lambda error: error.code is Code.NOT_IN_EPOCH):
        service.findings(EPOCH, "east", SILOS["west"].public)
    with pytest.raises(EpochUnknownError):
        service.discover("ff" * 32)
