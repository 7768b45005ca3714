"""A hub that was held up between its look and its write does not undo what came after it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from tests.schedules.faults import Weather
from tests.schedules.federation import NAME, Federation, Shape

from fedgestalt_operator.api.round import KIND
from fedgestalt_operator.kube.errors import Conflict


class HeldUp:
    """A cluster in which somebody else moves right before each status of a round is written."""

    def __init__(self, cluster: Any, real: Any) -> None:
        self._cluster, self._real = cluster, real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    def patch_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], version: str | None = None
    ) -> Any:
        if kind == KIND:
            shown = {**self._real.get(kind, namespace, name).get("status", {}), "phase": "Succeeded"}
            self._real.patch_status(kind, namespace, name, shown)
        return self._cluster.patch_status(kind, namespace, name, status, version)


def test_a_status_that_was_planned_from_an_older_round_is_refused_and_the_newer_one_stands() -> None:
    world = Federation(Shape(), Weather(random.Random(1)))
    while world.status.get("phase") != "Enrolling":
        assert world.reconcile()
        world.now += 1.0
    process = world.process()
    process.reconciler._cluster = HeldUp(process.reconciler._cluster, world.cluster)
    world.now += 2000.0  # it has something to say: the start deadline has passed
    assert process.reconciler.reconcile("", NAME) == 0.0, "it decided that the round has failed"
    with pytest.raises(Conflict):
        process.reconciler.reconcile("", NAME)
    assert world.status["phase"] == "Succeeded"
