"""The hub looks for clusters again after cases went: once, at the next look at the Release, and writes nothing for it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from fedgestalt.exchange.errors import Code, refused
from fedgestalt_operator.hub.ports import ExchangeUnavailable
from fedgestalt_operator.hub.releases import HubReleases
from fedgestalt_operator.hub.releases_status import EVERY, ReleaseReconciler
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.validate import validate_file
from fedgestalt_operator.plan.release_status import EpochState


class Exchange:
    """An epoch that is due for a look, or away."""

    def __init__(self) -> None:
        self.state = EpochState(40, 3)
        self.looks, self.away = 0, False

    def published(self, digest: str) -> bool:
        return True

    def epoch(self, epoch: str) -> EpochState:
        return self.state

    def discover(self, epoch: str) -> None:
        self.looks += 1
        if self.away:
            raise ExchangeUnavailable("away")
        self.state = replace(self.state, look_due=False)


def reconciled() -> tuple[Exchange, MemoryCluster, ReleaseReconciler]:
    exchange, cluster = Exchange(), MemoryCluster()
    cluster.create(validate_file(crd_folder() / "examples" / "valid" / "release-train.yaml")[0])
    known: Any = exchange
    reconciler = ReleaseReconciler(cluster, known, now=lambda: 1_790_000_000.0)
    assert reconciler.reconcile("", "gm-2026-09") == EVERY
    return exchange, cluster, reconciler


def version(cluster: MemoryCluster) -> str:
    return str(cluster.get("Release", "", "gm-2026-09")["metadata"]["resourceVersion"])


def test_after_a_withdrawal_clusters_are_looked_for_once_and_nothing_is_written() -> None:
    exchange, cluster, reconciler = reconciled()
    before = version(cluster)
    assert exchange.looks == 0
    exchange.state = replace(exchange.state, look_due=True)
    for _ in range(3):
        assert reconciler.reconcile("", "gm-2026-09") == EVERY
    assert exchange.looks == 1
    assert version(cluster) == before


def test_a_look_that_fails_is_tried_again_and_keeps_nothing_else_from_being_said() -> None:
    exchange, cluster, reconciler = reconciled()
    exchange.state, exchange.away = EpochState(39, 3, look_due=True), True
    reconciler.reconcile("", "gm-2026-09")
    assert cluster.get("Release", "", "gm-2026-09")["status"]["counts"]["gallery"] == 39
    exchange.away = False
    reconciler.reconcile("", "gm-2026-09")
    assert exchange.looks == 2
    assert not exchange.state.look_due


def test_rows_that_cannot_be_compared_are_no_error_of_the_exchange(tmp_path: Any) -> None:
    class Refusing:
        def status(self, epoch: str) -> Any:
            return SimpleNamespace(silos={}, rotation_due=(), look_due=True)

        def discover(self, epoch: str) -> int:
            raise refused(Code.ROWS_INVALID, "6001 undiagnosed rows")

    releases = HubReleases(tmp_path, None, Refusing())  # type: ignore[arg-type]
    state = releases.epoch("ab" * 32)
    assert state is not None
    assert state.look_due
    releases.discover("ab" * 32)
