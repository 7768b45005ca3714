"""The resync goes on whatever happens, and nobody else's silence is a reason to restart the operator."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fedgestalt_operator.hub import operator as module
from fedgestalt_operator.hub.operator import HubOperator
from fedgestalt_operator.kube.errors import ClusterUnavailable
from fedgestalt_operator.telemetry.health import Contact, Health
from fedgestalt_operator.telemetry.metrics import Metrics

SHORT = 0.02


class World:
    """All that the resync asks: an API server without objects, an exchange, the registry of silos."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.deleted: frozenset[str] = frozenset()
        self.unreadable: frozenset[str] = frozenset()
        self.looks = 0
        self.silos = self

    def pages(self, *_: Any) -> Iterator[list[Any]]:
        if self.failure is not None:
            raise self.failure
        return iter(())

    def look_again(self) -> None:
        self.looks += 1

    def rounds(self) -> frozenset[str]:
        return self.deleted

    def standings(self) -> dict[Any, int]:
        return {}

    def forget(self) -> None:
        """Nothing is remembered."""

    def ours(self, uid: str) -> bool:
        if uid in self.unreadable:
            raise ValueError(f"{uid}.json is damaged")
        return True


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def health() -> Health:
    return Health(resync_every=SHORT, stale_after=0.4, silent_after=0.3)


@pytest.fixture
def running(
    world: World, health: Health, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[HubOperator, threading.Thread]]:
    monkeypatch.setattr(module, "TICK", SHORT)
    it: Any = world
    operator = HubOperator(
        namespace="ns",
        cluster=it,
        load=it,
        exchange=it,
        rounds=it,
        silos=it,
        releases=it,
        metrics=Metrics(),
        health=health,
        ours=world.ours,
        resync=5 * SHORT,
    )
    thread = threading.Thread(target=operator._resync)
    thread.start()
    yield operator, thread
    operator.stop()
    thread.join(10)
    assert not thread.is_alive()


def wait(health: Health, seconds: float) -> None:
    """Let time pass in which the workers' tries end, badly."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        health.progressed()
        time.sleep(SHORT)


def test_an_api_server_that_is_away_for_long_is_for_readiness_to_say(
    running: tuple[HubOperator, threading.Thread], world: World, health: Health
) -> None:
    wait(health, 0.1)
    world.failure = ClusterUnavailable("no answer")
    wait(health, 1.0)
    assert health.sick() == []
    assert any(why.startswith(Contact.API_SERVER.value) for why in health.unready())


def test_an_error_that_nobody_thought_of_ends_neither_the_resync_nor_the_operator(
    running: tuple[HubOperator, threading.Thread],
    world: World,
    health: Health,
    caplog: pytest.LogCaptureFixture,
) -> None:
    world.failure = KeyError("metadata")
    wait(health, 0.6)
    assert running[1].is_alive()
    assert health.sick() == []
    assert "KeyError: 'metadata'" in caplog.text
    world.failure, before = None, world.looks
    wait(health, 0.3)
    assert world.looks > before


def test_a_round_whose_file_is_damaged_keeps_no_other_from_being_ended(
    running: tuple[HubOperator, threading.Thread],
    world: World,
    health: Health,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    world.unreadable = frozenset({"aaaa"})
    world.deleted = frozenset({"aaaa", "bbbb"})
    wait(health, 0.4)
    assert running[1].is_alive()
    assert running[0]._queue.depth() == 2, "the silos and the other round"
    assert "aaaa.json is damaged" in caplog.text
