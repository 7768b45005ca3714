"""Whoever waits for a round reads in its status why the hub goes no further, whatever step it is that fails."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.schedules.faults import Weather
from tests.schedules.federation import NAME, Federation, Shape

from fedgestalt.exchange.errors import BoardRewoundError, Code, refused
from fedgestalt_operator.api.round import KIND
from fedgestalt_operator.hub.ports import ExchangeUnavailable
from fedgestalt_operator.hub.reconcile import RoundReconciler
from fedgestalt_operator.kube.errors import ClusterUnavailable


def federation() -> Federation:
    world = Federation(Shape(), Weather(random.Random(1)))
    world.weather.clear()
    return world


def failing(world: Federation, name: str, error: Exception) -> RoundReconciler:
    """A process of the hub whose exchange fails at one call."""
    hub = world.process().reconciler

    def fail(*_: Any) -> None:
        raise error

    setattr(hub._exchange, name, fail)
    return hub


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("entries", BoardRewoundError("the board ends at 3, but message 90 was seen")),
        ("entries", OSError("No space left on device")),
        ("base", ValueError("manifest.json: not JSON")),
        ("post", refused(Code.QUOTA_EXCEEDED, "hub posted 50000 messages")),
    ],
)
def test_an_error_before_anything_is_done_is_told(call: str, error: Exception) -> None:
    world = federation()
    hub = failing(world, call, error)
    with pytest.raises(type(error)):
        hub.reconcile("", NAME)
    (wait,) = world.status["waitingFor"]
    assert wait["who"] == "hub"
    assert wait["what"].startswith(f"{type(error).__name__}: {error}"[:200])
    assert world.status["phase"] == "Pending"
    version = world.cluster.get(KIND, "", NAME)["metadata"]["resourceVersion"]
    world.now += 60.0
    with pytest.raises(type(error)):
        hub.reconcile("", NAME)
    assert world.cluster.get(KIND, "", NAME)["metadata"]["resourceVersion"] == version, (
        "trying again is no write"
    )


def test_where_a_round_stood_is_still_shown_beside_what_is_wrong_and_goes_when_it_is_mended() -> None:
    world = federation()
    while world.status.get("phase") != "Enrolling":
        assert world.reconcile()
    with pytest.raises(BoardRewoundError):
        failing(world, "entries", BoardRewoundError("rewound")).reconcile("", NAME)
    assert world.status["phase"] == "Enrolling"
    assert world.status["summary"]["waiting"] == "hub: BoardRewoundError: rewound"
    assert world.reconcile()
    assert all(wait["who"] != "hub" for wait in world.status["waitingFor"])


@pytest.mark.parametrize("error", [ExchangeUnavailable("no answer"), ClusterUnavailable("no answer")])
def test_an_exchange_or_api_server_that_is_away_is_no_matter_of_one_round(error: Exception) -> None:
    world = federation()
    with pytest.raises(type(error)):
        failing(world, "entries", error).reconcile("", NAME)
    assert world.status == {}


def test_a_round_that_is_over_stays_as_it_was_shown() -> None:
    world = federation()
    while world.status.get("phase") != "Enrolling":
        assert world.reconcile()
    world.now += 2000.0
    while world.status["phase"] != "Failed":
        assert world.reconcile()
    shown = world.status
    with pytest.raises(OSError, match="full"):
        failing(world, "entries", OSError("full")).reconcile("", NAME)
    assert world.status == shown


def test_the_round_of_another_controller_is_never_written_to() -> None:
    world = federation()
    document = world.cluster.get(KIND, "", NAME)
    world.cluster.delete(KIND, "", NAME)
    for field in ("uid", "resourceVersion", "generation", "creationTimestamp"):
        document["metadata"].pop(field, None)
    document["spec"]["managedBy"] = "example.org/other"
    world.cluster.create(document)
    with pytest.raises(OSError, match="full"):
        failing(world, "entries", OSError("full")).reconcile("", NAME)
    assert world.status == {}
