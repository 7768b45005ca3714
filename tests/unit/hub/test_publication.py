"""What a round yielded becomes a Release although the round is gone, and no round has succeeded before that."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.plan.silos import UID
from tests.schedules.faults import Weather
from tests.schedules.federation import NAME, Federation, Shape

from fedgestalt_operator.api.round import KIND
from fedgestalt_operator.hub.deleted import end_deleted
from fedgestalt_operator.hub.ports import ExchangeUnavailable
from fedgestalt_operator.hub.publication import LatePublisher, NameTaken


def released() -> Federation:
    """A round whose last decision stands; nothing that follows from it is done."""
    world = Federation(Shape(), Weather(random.Random(1)))
    world.weather.clear()
    while not world.over:
        assert world.reconcile()
        for silo in world.silos:
            world.act(silo)
        world.jobs.step()
        world.now += 1.0
    assert world.exchange.decisions("released")
    return world


def test_no_round_is_shown_as_succeeded_before_its_release_is_published() -> None:
    world = released()
    hub = world.process().reconciler
    publish = hub._exchange.publish

    def away(*_: Any) -> None:
        raise ExchangeUnavailable("the disk is full")

    hub._exchange.publish = away  # type: ignore[method-assign, assignment]
    with pytest.raises(ExchangeUnavailable):
        hub.reconcile("", NAME)
    assert world.status["phase"] == "Releasing"
    assert world.status["waitingFor"][0]["what"] == "ExchangeUnavailable: the disk is full"

    stripped = world.cluster.get(KIND, "", NAME)
    world.cluster.patch_status(KIND, "", NAME, {}, stripped["metadata"]["resourceVersion"])
    with pytest.raises(ExchangeUnavailable):
        hub.reconcile("", NAME)
    assert world.status["phase"] == "Releasing"
    assert world.status["conditions"][0]["status"] == "Unknown"

    hub._exchange.publish = publish  # type: ignore[method-assign]
    hub.reconcile("", NAME)
    assert world.status["phase"] == "Succeeded"
    assert world.status["waitingFor"] == []


def test_a_round_that_is_deleted_between_its_last_decision_and_the_publication_still_yields_a_release() -> (
    None
):
    world = released()
    exchange = world.process().reconciler._exchange
    world.cluster.delete(KIND, "", NAME)
    late = LatePublisher(world.cluster, exchange, "")
    end_deleted(exchange, late, UID)
    (release,) = world.cluster.list("Release", "")[0]
    assert release["spec"]["roundUID"] == UID
    assert not late.due(UID, release["spec"]["digest"].removeprefix("sha256:"))
    assert not world.exchange.tasks


def test_a_release_whose_resource_was_not_made_any_more_gets_it() -> None:
    world = released()
    exchange = world.process().reconciler._exchange
    world.exchange.publish("synthdysm", world.exchange.decisions("released")[0].body["digest"].hex())
    end_deleted(exchange, LatePublisher(world.cluster, exchange, ""), UID)
    assert len(world.cluster.list("Release", "")[0]) == 1


def test_a_foreign_object_of_the_release_s_name_is_left_alone_and_named() -> None:
    world = released()
    exchange = world.process().reconciler._exchange
    late = LatePublisher(world.cluster, exchange, "")
    late.publish(UID, world.exchange.decisions("released")[0].body["digest"].hex())
    (release,) = world.cluster.list("Release", "")[0]
    world.cluster.delete("Release", "", release["metadata"]["name"])
    for field in ("uid", "resourceVersion", "labels"):
        release["metadata"].pop(field, None)
    world.cluster.create(release)
    with pytest.raises(NameTaken, match="exists and is not of round demo; delete it"):
        late.publish(UID, release["spec"]["digest"].removeprefix("sha256:"))
