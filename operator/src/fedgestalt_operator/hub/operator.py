"""The hub's operator: kopf's events, the exchange's feed, workers between them, and what it shows of itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import kopf
from kubernetes.client import Configuration

from ..api.round import KIND, Phase
from ..kube.errors import ClusterError, ClusterUnavailable, Conflict
from ..kube.port import Cluster, Document
from ..plan.types import Decision, JobKind
from ..telemetry.health import Contact, Health, Need
from ..telemetry.metrics import Metrics, Outcome
from ..telemetry.report import Reporter
from ..telemetry.subject import Resource
from ..watching.login import login_with
from ..watching.settings import quiet_settings
from .feed import Feed
from .listener import Listener
from .ports import ExchangeUnavailable, HubExchange
from .queue import Key, Workers, WorkQueue
from .reconcile import RoundReconciler
from .registry import SiloReconciler
from .releases_status import ReleaseReconciler
from .rounds import RoundIndex
from .routes import SILOS, hub_routes

log = logging.getLogger(__name__)

TICK: Final = 5.0
GRACE: Final = 20.0


class Telemetry(Listener):
    """Turns what the hub did into metrics, log lines and Events."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def status_written(self, document: Document, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """See `Listener.status_written`."""
        self._reporter.status_written(document, old, new)

    def decided(self, document: Document, decisions: Sequence[Decision]) -> None:
        """See `Listener.decided`."""
        self._reporter.decided(document, decisions)

    def job_created(self, kind: JobKind) -> None:
        """See `Listener.job_created`."""
        self._reporter.metrics.job_created(kind)


class HubOperator:
    """Runs until it is stopped by a signal, or by `stop`."""

    def __init__(
        self,
        *,
        namespace: str,
        cluster: Cluster,
        load: Callable[[], Configuration],
        exchange: HubExchange,
        rounds: RoundReconciler,
        silos: SiloReconciler,
        releases: ReleaseReconciler,
        metrics: Metrics,
        health: Health,
        on_gone: Callable[[str], None] = lambda _: None,
        ours: Callable[[str], bool] = lambda _: True,
        workers: int = 12,
        resync: float = 300.0,
    ) -> None:
        """
        Args:
            namespace: the one that it serves.
            load: reads where the API server is and who we are, for the watches.
            on_gone: told the uid of a round that was deleted.
            ours: whether we have worked on the round with a uid: what we never saw is not ours to end.
            workers: threads that reconcile.
            resync: seconds between two looks at every round: a net under watches and feed, which carry the news.
        """
        self._namespace, self._every = namespace, resync
        self._cluster, self._load, self._exchange = cluster, load, exchange
        self._rounds, self._silos, self._releases = rounds, silos, releases
        self._metrics, self._health, self._on_gone, self._ours = metrics, health, on_gone, ours
        self._index, self._queue = RoundIndex(), WorkQueue()
        self._workers = Workers(self._queue, self._work, threads=workers, on_done=self._done)
        self._feed = Feed(exchange, self._round_changed, self._everything_changed, self._exchange_reached)
        self._stopped = threading.Event()
        self._due, self._cleared = 0.0, False

    def run(self) -> None:
        """Serve; returns when stopped, after the work at hand."""
        threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (("feed", self._feed.run), ("resync", self._resync))
        ]
        self._workers.start()
        for thread in threads:
            thread.start()
        registry = hub_routes(
            self._queue,
            self._index,
            on_gone=self._gone,
            on_silo=self._rounds.silos.forget,
            is_own=self._rounds.is_own,
            on_event=self._watched,
        )

        login_with(registry, self._load)

        @kopf.on.cleanup(registry=registry)
        async def cleanup(**_: Any) -> None:
            # kopf takes the signals over, and waits in a thread for a stop flag that nobody else would set.
            self.stop()

        try:
            kopf.run(
                registry=registry,
                settings=quiet_settings(),
                standalone=True,
                namespaces=[self._namespace],
                stop_flag=self._stopped,
            )
        finally:
            self._health.closing()
            self.stop()
            self._feed.stop()
            self._queue.close()
            self._workers.join(GRACE)

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped.set()

    # ------------------------------------------------------------------ the work

    def _work(self, key: Key) -> float | None:
        kind, namespace, name = key
        if kind == KIND:
            after = self._rounds.reconcile(namespace, name)
            # Under the round's own key, so that no reconcile under way makes anew what is cleared here.
            for uid in self._index.take_gone(key):
                self._clear(key, uid)
            return after
        if kind == SILOS[0]:
            return self._silos.reconcile()
        return self._releases.reconcile(namespace, name)

    def _clear(self, key: Key, uid: str) -> None:
        self._rounds.forget(uid)
        try:
            self._on_gone(uid)
        except Exception:
            self._index.give_back(key, uid)  # the key comes again, and this with it
            raise

    def _done(self, key: Key, waited: float, took: float, error: Exception | None) -> None:
        self._metrics.queue_waited(waited)
        self._metrics.reconciled(Resource(key[0]), _outcome(error), took)
        self._health.progressed()
        if error is None:
            # No work is done without a look at it, and Silos come every 5 s.
            self._health.reached(Contact.API_SERVER)
            if key == SILOS:
                self._watched(key[0])
        self._show_depth()

    def _show_depth(self) -> None:
        depth = self._queue.depth()
        self._metrics.queue_depth(depth)
        self._health.queue_depth(depth)

    # ------------------------------------------------------------------ news

    def _round_changed(self, uid: str) -> None:
        key = self._index.key(uid)
        if key is not None:
            self._queue.add(key)

    def _everything_changed(self) -> None:
        self._rounds.silos.forget()
        for key in self._index.all():
            self._queue.add(key)

    def _exchange_reached(self, reached: bool) -> None:
        if reached:
            self._metrics.exchange_answered()
            self._health.met(Need.EXCHANGE_ANSWERED)
            self._health.reached(Contact.EXCHANGE)
        else:
            self._metrics.exchange_silent()

    def _watched(self, kind: str) -> None:
        self._metrics.watched(Resource(kind))

    def _gone(self, uid: str) -> None:
        key = self._index.forget(uid)
        if key is not None:
            self._queue.add(key)

    def _resync(self) -> None:
        """The clock's part: Silos every few seconds, and once in a while everything, watched or not."""
        while not self._stopped.is_set():
            try:
                self._look_around()
            except Exception:
                # A thread that ends here would leave the operator without its net for good.
                log.exception("resync")
            # Whatever the API server said: that it is silent is readiness' matter, and a restart would mend nothing.
            self._health.resynced()
            self._stopped.wait(TICK)

    def _look_around(self) -> None:
        self._queue.add(SILOS)
        listed = time.monotonic() < self._due
        if not listed and self._list_all():
            listed, self._due = True, time.monotonic() + self._every
            self._cleared = False
            self._health.met(Need.CACHES_LISTED)
        self._cleared = self._cleared or (listed and self._find_deleted())
        self._show_depth()
        self._metrics.rounds({Phase(phase): n for phase, n in self._index.phases().items()})
        self._metrics.silos(self._silos.standings())

    def _list_all(self) -> bool:
        """Look at every object that there is: what a stalled watch kept from us is found here at the latest."""
        known = self._index.uids()  # before the list: a round that is made meanwhile is not missing
        listed = set()
        try:
            self._rounds.look_again()
            for page in self._cluster.pages(KIND, self._namespace):
                for document in page:
                    listed.add(document["metadata"]["uid"])
                    self._queue.add(self._index.learn(document))
            self._watched(KIND)
            for page in self._cluster.pages("Release", self._namespace):
                for document in page:
                    self._queue.add(("Release", self._namespace, document["metadata"]["name"]))
            self._watched("Release")
            next(iter(self._cluster.pages("Job", self._namespace)), None)  # a page tells
            self._watched("Job")
        except ClusterError as error:
            log.warning("resync: %s", error)
            return False
        for uid in known - listed:
            self._gone(uid)
        return True

    def _find_deleted(self) -> bool:
        """Rounds that the exchange works on and that are no more: they were deleted while no operator looked."""
        try:
            gone = self._exchange.rounds() - self._index.uids()
            # In this order: a round has its resource before the exchange hears of it.
            for page in self._cluster.pages(KIND, self._namespace) if gone else ():
                gone -= {document["metadata"]["uid"] for document in page}
        except (ExchangeUnavailable, ClusterError) as error:
            log.warning("rounds that were deleted: %s", error)
            return False
        for uid in sorted(filter(self._worked_on, gone)):
            key = self._index.orphan(self._namespace, uid)
            if key is not None:
                self._queue.add(key)
        return True

    def _worked_on(self, uid: str) -> bool:
        try:
            return self._ours(uid)
        except Exception as error:
            # One round's damaged file keeps no other from being ended. This one is looked at again at the next resync.
            log.warning("whether round %s was ours: %s", uid[:8], error)
            return False


def _outcome(error: Exception | None) -> Outcome:
    match error:
        case None:
            return Outcome.OK
        case Conflict():
            return Outcome.CONFLICT
        case ClusterUnavailable() | ExchangeUnavailable():
            return Outcome.UNAVAILABLE
        case ValueError() | KeyError():
            return Outcome.INVALID
        case _:
            return Outcome.ERROR
