"""The Silos' reconciler: registers first, writes only what changed, and says so when the exchange is away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedgestalt_operator.api import API_VERSION
from fedgestalt_operator.api.silo import Silo
from fedgestalt_operator.hub.listener import Listener
from fedgestalt_operator.hub.ports import ExchangeUnavailable, Presence
from fedgestalt_operator.hub.registry import SiloReconciler
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.port import Document

NOW = 1_790_000_000.0


class Exchange:
    """Knows who was registered; hears them when told to."""

    def __init__(self) -> None:
        self.away = False
        self.registered: list[dict[str, bool]] = []
        self.heard: dict[str, float] = {}

    def register(self, silos: Mapping[str, Silo]) -> None:
        if self.away:
            raise ExchangeUnavailable("no answer")
        self.registered.append({name: silo.accepted for name, silo in silos.items()})

    def silos(self) -> Mapping[str, Presence]:
        if self.away:
            raise ExchangeUnavailable("no answer")
        known = self.registered[-1] if self.registered else {}
        return {
            name: Presence(self.heard.get(name), NOW - 1000, "0.1.0", accepted)
            for name, accepted in known.items()
        }


class Heard(Listener):
    def __init__(self) -> None:
        self.written: list[str] = []

    def status_written(self, document: Document, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self.written.append(document["metadata"]["name"])


class Place:
    def __init__(self) -> None:
        self.now = NOW
        self.cluster, self.exchange, self.heard = MemoryCluster(), Exchange(), Heard()
        self.reconciler = SiloReconciler(
            self.cluster,
            self.exchange,  # type: ignore[arg-type]
            self.exchange,
            namespace="ns",
            version="0.1.0",
            now=lambda: self.now,
            listener=self.heard,
        )

    def silo(self, name: str, accepted: bool = True) -> None:
        identity = {"key": "ab" * 32, "notAfter": "2030-01-01T00:00:00Z"}
        self.cluster.apply(
            {
                "apiVersion": API_VERSION,
                "kind": "Silo",
                "metadata": {"name": name, "namespace": "ns"},
                "spec": {"accepted": accepted, "identities": [identity]},
            }
        )

    def ready(self, name: str) -> tuple[str, str]:
        conditions = self.cluster.get("Silo", "ns", name)["status"]["conditions"]
        found = next(c for c in conditions if c["type"] == "Ready")
        return found["status"], found["reason"]


def test_a_silo_is_registered_and_then_ready_once_it_was_heard() -> None:
    place = Place()
    place.silo("west")
    place.reconciler.reconcile()
    assert place.exchange.registered == [{"west": True}]
    assert place.ready("west") == ("Unknown", "NeverConnected")  # silent for a thousand seconds
    place.exchange.heard["west"] = NOW
    place.reconciler.reconcile()
    assert place.ready("west") == ("True", "Ready")


def test_looking_again_without_news_neither_registers_nor_writes() -> None:
    place = Place()
    place.silo("west")
    place.exchange.heard["west"] = NOW
    place.reconciler.reconcile()
    done = list(place.heard.written)
    for _ in range(10):
        place.now += 5
        place.exchange.heard["west"] = place.now
        place.reconciler.reconcile()
    assert place.heard.written == done
    assert len(place.exchange.registered) == 1


def test_a_revocation_reaches_the_exchange_at_the_next_look() -> None:
    place = Place()
    place.silo("west")
    place.reconciler.reconcile()
    place.silo("west", accepted=False)
    place.reconciler.reconcile()
    assert place.exchange.registered[-1] == {"west": False}
    assert place.ready("west") == ("False", "NotAccepted")


def test_a_silo_that_is_revoked_while_the_exchange_is_away_is_shown_as_let_in_until_it_was_told() -> None:
    place = Place()
    place.silo("west")
    place.reconciler.reconcile()
    place.exchange.away = True
    place.silo("west", accepted=False)
    place.reconciler.reconcile()
    assert place.exchange.registered[-1] == {"west": True}, "the site is still let in"
    assert place.ready("west") == ("False", "RevocationPending")
    place.exchange.away = False
    place.reconciler.reconcile()
    assert place.exchange.registered[-1] == {"west": False}
    assert place.ready("west") == ("False", "NotAccepted")


def test_an_exchange_that_was_away_is_registered_with_anew() -> None:
    place = Place()
    place.silo("west")
    place.exchange.away = True
    place.reconciler.reconcile()
    assert place.ready("west") == ("Unknown", "ExchangeUnreachable")
    place.exchange.away = False
    place.exchange.heard["west"] = NOW
    place.reconciler.reconcile()
    assert place.ready("west") == ("True", "Ready")


def test_a_status_that_was_deleted_comes_back() -> None:
    place = Place()
    place.silo("west")
    place.exchange.heard["west"] = NOW
    place.reconciler.reconcile()
    before = place.cluster.get("Silo", "ns", "west")["status"]
    place.cluster.patch_status("Silo", "ns", "west", {})
    place.reconciler.reconcile()
    assert place.cluster.get("Silo", "ns", "west")["status"] == before
