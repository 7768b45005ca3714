"""Two clocks that differ: what is heard at the exchange is compared with the exchange's own time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.link import SiloPresence
from fedgestalt_operator.api import API_VERSION
from fedgestalt_operator.hub.clock import ExchangeClock
from fedgestalt_operator.hub.exchange import RealExchange
from fedgestalt_operator.hub.registry import SiloReconciler
from fedgestalt_operator.hub.silos import SiloDirectory
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.plan.deadlines import is_live

NOW = 1_800_000_000.0


class Client:
    """An exchange whose clock is `ahead` of the operator's, and that heard west `silent` seconds ago."""

    def __init__(self, ahead: float, silent: float) -> None:
        self.now, self.silent = NOW + ahead, silent

    def silos(self) -> list[SiloPresence]:
        heard = self.now - self.silent
        return [SiloPresence("west", (b"k" * 32,), True, "0.1.0", heard, self.now - 9000, self.now)]


class Registrar:
    def register(self, silos: Any) -> None:
        """Done."""


def cluster() -> MemoryCluster:
    made = MemoryCluster()
    identity = {"key": "00" * 32, "notAfter": "2038-01-01T00:00:00Z"}
    spec = {"accepted": True, "identities": [identity]}
    metadata = {"name": "west", "namespace": "hub"}
    made.create({"apiVersion": API_VERSION, "kind": "Silo", "metadata": metadata, "spec": spec})
    return made


def exchange(client: Client, folder: Path) -> tuple[RealExchange, Callable[[], float]]:
    clock = ExchangeClock(lambda: NOW)
    none: Any = None
    known: Any = client
    return RealExchange(known, none, Identity.generate(), folder, clock=clock), clock


@pytest.mark.parametrize("ahead", [-240.0, -100.0, 0.0, 100.0, 240.0])
@pytest.mark.parametrize(("silent", "live"), [(1.0, True), (89.0, True), (91.0, False)])
def test_a_silo_is_lost_by_the_seconds_of_its_silence_whatever_the_operators_clock_says(
    tmp_path: Path, ahead: float, silent: float, live: bool
) -> None:
    real, clock = exchange(Client(ahead, silent), tmp_path)
    here = cluster()
    states = SiloDirectory(here, real, "hub", clock).states(begun=True)
    assert is_live(states["west"].last_heard, clock()) is live
    SiloReconciler(here, real, Registrar(), namespace="hub", version="0.1.0", now=clock).reconcile()
    (document,) = here.list("Silo", "hub")[0]
    reasons = {c["type"]: c["reason"] for c in document["status"]["conditions"]}
    assert reasons["Connected"] == ("Heard" if live else "LinkLost")


def test_what_an_answer_takes_counts_half(caplog: pytest.LogCaptureFixture) -> None:
    here = iter([NOW, NOW + 4.0, NOW + 4.0])
    clock = ExchangeClock(lambda: next(here))
    clock.learn(clock.own(), NOW + 102.0)
    assert clock() == NOW + 104.0


def test_clocks_that_are_far_apart_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = ExchangeClock(lambda: NOW)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            clock.learn(NOW, NOW - 100.0)
    (record,) = caplog.records
    assert "100 s behind the operator's" in record.getMessage()
