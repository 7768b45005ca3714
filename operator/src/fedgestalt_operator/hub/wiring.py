"""Puts the hub's operator together from what its command line says."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from fedgestalt import __version__
from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.chain import FileChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import BoardRewoundError
from fedgestalt.exchange.tokens import JOB_LIFETIME, KeyCredential, Role
from fedgestalt.secagg.messages import HUB

from ..api.round import KIND
from ..kube.api_server import ApiServerCluster
from ..kube.connection import load_configuration
from ..plan.board_file import export_board
from ..telemetry.events import EventRecorder
from ..telemetry.health import Health, Need
from ..telemetry.metrics import Metrics
from ..telemetry.probes import ProbeServer
from ..telemetry.report import Reporter
from .access import JobAccess
from .act import JobTemplate
from .board_server import BoardServer
from .clock import ExchangeClock
from .deleted import end_deleted
from .exchange import RealExchange
from .operator import TICK, HubOperator, Telemetry
from .publication import LatePublisher
from .reconcile import RoundReconciler
from .registrar import ExchangeRegistrar
from .registry import SiloReconciler
from .releases_status import ReleaseReconciler
from .state import claim

log = logging.getLogger(__name__)

CALL_SECONDS: Final = 20.0
PUBLISH_SECONDS: Final = 300.0
"""Looking for clusters among thousands of undiagnosed cases takes that long, and nothing else waits by then."""


@dataclass(frozen=True)
class HubSettings:
    """What the hub's operator is told.

    Attributes:
        namespace: where FederationRounds, Silos, Releases and Jobs live.
        exchange_url: `https://host:port`.
        exchange_ca: PEM file that the exchange's certificate must descend from.
        hub_key: PEM file of the hub's signing key.
        state: folder for releases and for how far each board was seen; durable.
        kubeconfig, context: None: in-cluster, or kubectl's order.
        probes: host and port of probes and metrics.
        boards: host and port at which boards are served for replays; None: nowhere.
        job_url: how Jobs reach the exchange, if otherwise than the operator.
        resync: seconds between two looks at every round without news.
    """

    namespace: str
    exchange_url: str
    exchange_ca: Path
    hub_key: Path
    state: Path
    kubeconfig: Path | None = None
    context: str | None = None
    probes: tuple[str, int] = ("", 8080)
    boards: tuple[str, int] | None = None
    job_url: str | None = None
    template: JobTemplate = field(default_factory=JobTemplate)
    workers: int = 12
    resync: float = 300.0
    instance: str = ""


@contextlib.contextmanager
def hub_operator(settings: HubSettings, cluster: ApiServerCluster) -> Iterator[HubOperator]:
    """The operator, ready to run; what it holds open is closed afterwards.

    Raises:
        ProbeError: the probes' address is taken.
        CryptoError: the hub's key cannot be read.
        StateTaken: the state folder is another namespace's.
    """
    claim(settings.state, settings.namespace)
    key = Identity.load(settings.hub_key)
    credential = KeyCredential(key, Role.HUB, HUB, key.public)
    health, metrics = Health(resync_every=TICK, stale_after=PUBLISH_SECONDS + 60.0), Metrics()
    health.met(Need.CRDS_CHECKED)  # the caller did, or would not be here
    chain = FileChainState(settings.state / "chain")
    with contextlib.ExitStack() as stack:
        stack.enter_context(ProbeServer(health, metrics, host=settings.probes[0], port=settings.probes[1]))
        client = stack.enter_context(
            BoardClient(
                settings.exchange_url,
                settings.exchange_ca,
                credential,
                name=HUB,
                hub_key=key.public,
                state=chain,
                deadline=CALL_SECONDS,
            )
        )
        epochs = stack.enter_context(
            EpochClient(settings.exchange_url, settings.exchange_ca, credential, deadline=PUBLISH_SECONDS)
        )
        looks = stack.enter_context(
            EpochClient(settings.exchange_url, settings.exchange_ca, credential, deadline=CALL_SECONDS)
        )
        events = EventRecorder(cluster, instance=settings.instance, handled=metrics.event_handled)
        stack.callback(events.close)
        listener = Telemetry(Reporter(metrics, events))
        clock = ExchangeClock()
        exchange = RealExchange(client, epochs, key, settings.state / "releases", looks=looks, clock=clock)
        access = JobAccess(
            cluster,
            exchange.job_token,
            {
                "url": (settings.job_url or settings.exchange_url).encode(),
                "hub-key": key.public.hex().encode(),
                "ca.crt": settings.exchange_ca.read_bytes(),
            },
            namespace=settings.namespace,
            secret=settings.template.exchange_secret,
            lifetime=JOB_LIFETIME,
        )
        rounds = RoundReconciler(
            cluster,
            exchange,
            namespace=settings.namespace,
            now=clock,
            template=settings.template,
            before_job=access.ensure,
            while_job=access.renew,
            listener=listener,
        )
        silos = SiloReconciler(
            cluster,
            exchange,
            ExchangeRegistrar(client),
            namespace=settings.namespace,
            version=__version__,
            now=clock,
            open_tasks=rounds.open_tasks,
            listener=listener,
        )

        def export(uid: str) -> dict[str, Any] | None:
            documents, _ = cluster.list(KIND, settings.namespace)
            document = next((d for d in documents if d["metadata"]["uid"] == uid), None)
            if document is None:
                return None
            spec = document["spec"]
            return export_board(
                document, exchange.entries(uid), exchange.computation(uid), exchange.base(spec)
            )

        if settings.boards is not None:
            host, port = settings.boards
            stack.enter_context(BoardServer(export, host=host, port=port, folder=settings.state / "tls"))

        publications = LatePublisher(cluster, exchange, settings.namespace)

        def forget(uid: str) -> None:
            access.forget(uid)
            try:
                end_deleted(exchange, publications, uid)
            except BoardRewoundError as error:
                # Its silos refuse such a board as well; what is left is to take their tasks back.
                log.warning("round %s: %s", uid[:8], error)
                exchange.forget(uid)

        yield HubOperator(
            namespace=settings.namespace,
            cluster=cluster,
            load=partial(load_configuration, settings.kubeconfig, settings.context),
            exchange=exchange,
            rounds=rounds,
            silos=silos,
            releases=ReleaseReconciler(cluster, exchange, now=time.time, listener=listener),
            metrics=metrics,
            health=health,
            on_gone=forget,
            ours=lambda uid: chain.position(uid).seq > 0,
            workers=settings.workers,
            resync=settings.resync,
        )
