"""Silos: who may speak with the exchange, and what their status says."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ..api.conditions import SiloCondition, Truth
from ..api.silo import KIND, Silo, parse_silo
from ..kube.errors import NotFound
from ..kube.port import Cluster, Document
from ..plan.silos import Hearing, silo_status
from ..telemetry.metrics import SiloStanding
from .listener import Listener
from .ports import ExchangeUnavailable, HubExchange, Presence

log = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two looks: a lost silo shows within 95 s."""


class Registrar(Protocol):
    """Tells the exchange whom to let in."""

    def register(self, silos: Mapping[str, Silo]) -> None:
        """Replace the whole registry. Raises ExchangeUnavailable."""
        ...


class SiloReconciler:
    """Registers the Silos of one namespace with the exchange and writes their status where it changed."""

    def __init__(
        self,
        cluster: Cluster,
        exchange: HubExchange,
        registrar: Registrar,
        *,
        namespace: str,
        version: str,
        now: Callable[[], float],
        open_tasks: Callable[[], Mapping[str, int]] = dict,
        listener: Listener | None = None,
    ) -> None:
        """
        Args:
            version: the hub's software version.
            open_tasks: silo -> SiloTasks that are not over.
            listener: told of statuses that were written.
        """
        self._cluster, self._exchange, self._registrar = cluster, exchange, registrar
        self._namespace, self._version, self._now = namespace, version, now
        self._open_tasks, self._listener = open_tasks, listener or Listener()
        self._lock = threading.Lock()
        self._registered: object = None
        self._standings: Mapping[SiloStanding, int] = {}

    def standings(self) -> Mapping[SiloStanding, int]:
        """How many silos stood where at the last look."""
        with self._lock:
            return self._standings

    def reconcile(self) -> float:
        """Look at all Silos once; seconds to the next look."""
        with self._lock:
            documents, _ = self._cluster.list(KIND, self._namespace)
            silos = {d["metadata"]["name"]: parse_silo(d) for d in documents}
            presence, reachable = self._presence(silos)
            open_tasks = self._open_tasks()
            standings: Counter[SiloStanding] = Counter()
            for document in documents:
                name = document["metadata"]["name"]
                tasks = open_tasks.get(name, 0)
                standings[self._show(document, silos[name], presence.get(name), reachable, tasks)] += 1
            self._standings = standings
            return EVERY

    def _presence(self, silos: Mapping[str, Silo]) -> tuple[Mapping[str, Presence], bool]:
        """Register first: a silo that was revoked must not be let in because its status could not be written."""
        wanted = {name: (silo.accepted, silo.identities) for name, silo in silos.items()}
        try:
            if wanted != self._registered:
                self._registrar.register(silos)
                self._registered = wanted
            presence = self._exchange.silos()
        except ExchangeUnavailable as error:
            log.warning("silos: %s", error)
            self._registered = None  # it may come back with another registry
            return {}, False
        told = {name: found.accepted for name, found in presence.items()}
        if told != {name: silo.accepted for name, silo in silos.items()}:
            self._registered = (
                None  # it has another registry, perhaps of a backup: told again at the next look
            )
        return presence, True

    def _show(
        self, document: Document, silo: Silo, found: Presence | None, reachable: bool, tasks: int
    ) -> SiloStanding:
        old = document.get("status", {})
        hearing = None if found is None else Hearing(found.last_heard, found.serving_since, found.version)
        status = silo_status(
            silo,
            hearing,
            reachable=reachable,
            lets_in=found is not None and found.accepted,
            hub_version=self._version,
            tasks=tasks,
            now=self._now(),
            old=old,
        )
        if status != old:
            with contextlib.suppress(NotFound):
                self._cluster.patch_status(KIND, self._namespace, silo.metadata.name, status)
                self._listener.status_written(document, old, status)
        return _standing(status)


def _standing(status: Mapping[str, Any]) -> SiloStanding:
    conditions = {c["type"]: c for c in status["conditions"]}
    if conditions[SiloCondition.ACCEPTED]["status"] != Truth.TRUE:
        return SiloStanding.NOT_ACCEPTED
    match conditions[SiloCondition.CONNECTED]["status"]:
        case Truth.TRUE:
            return SiloStanding.CONNECTED
        case Truth.FALSE:
            return SiloStanding.LOST
    return SiloStanding.NEVER_HEARD
