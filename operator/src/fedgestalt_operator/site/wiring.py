"""Puts the site's operator together from what its command line says."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedgestalt import __version__
from fedgestalt.crypto.keys import fingerprint
from fedgestalt.exchange.chain import MemoryChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.tokens import FileCredential

from ..kube.deployments import InferenceTemplate
from ..kube.port import Cluster
from ..plan.handover import TOKEN
from ..telemetry.events import EventRecorder
from ..telemetry.health import Contact, Health, Need
from ..telemetry.metrics import EndpointStanding, Metrics
from ..telemetry.probes import ProbeServer
from ..telemetry.report import Reporter
from ..telemetry.subject import Resource
from .checked import CheckedReleases
from .endpoints import EndpointReconciler
from .exchange import RealSiteExchange
from .folder import Folder
from .link import Link
from .operator import SiteOperator
from .reconcile import RESYNC_SECONDS, SiteReconciler
from .service import ADDRESS, AskService
from .state import LinkState

CALL_SECONDS: Final = 10.0
STALE_SECONDS: Final = 120.0


@dataclass(frozen=True)
class SiteSettings:
    """What the site's operator is told.

    Attributes:
        namespace: where SiloTasks, ParticipationGrants, Releases and InferenceEndpoints of the site live.
        silo: the site's name at the hub.
        exchange_url: `https://host:port`, the only thing that the site dials.
        exchange_ca: PEM file that the exchange's certificate must descend from.
        hub_key: the hub's public signing key as the site has pinned it, 32 bytes.
        handover: the folder that is shared with the agent (`plan.handover`).
        probes: host and port of probes and metrics.
        inference: of the pods of InferenceEndpoints; None where the site serves nothing.
        inference_url: of their services, with `{name}` and `{namespace}` in it.
    """

    namespace: str
    silo: str
    exchange_url: str
    exchange_ca: Path
    hub_key: bytes
    handover: Path
    probes: tuple[str, int] = ("", 8080)
    instance: str = ""
    inference: InferenceTemplate | None = None
    inference_url: str = ADDRESS


@contextlib.contextmanager
def site_operator(settings: SiteSettings, cluster: Cluster) -> Iterator[SiteOperator]:
    """The operator, ready to run; what it holds open is closed afterwards.

    It holds no key: the agent puts a short-lived token into the folder, and without an agent the link is down.

    Raises:
        ProbeError: the probes' address is taken.
        OSError: the folder cannot be used.
        ValueError: `inference_url` is no URL.
    """
    # A site may be set up before its hub answers: readiness does not wait for that, but is withdrawn in the long run.
    needs = (Need.CRDS_CHECKED, Need.CACHES_LISTED)
    health, metrics = Health(resync_every=RESYNC_SECONDS, stale_after=STALE_SECONDS, needs=needs), Metrics()
    health.met(Need.CRDS_CHECKED)  # the caller did, or would not be here
    with contextlib.ExitStack() as stack:
        stack.enter_context(ProbeServer(health, metrics, host=settings.probes[0], port=settings.probes[1]))
        client = stack.enter_context(
            BoardClient(
                settings.exchange_url,
                settings.exchange_ca,
                FileCredential(settings.handover / TOKEN),
                name=settings.silo,
                hub_key=settings.hub_key,
                state=MemoryChainState(),  # it reads no board
                deadline=CALL_SECONDS,
            )
        )
        events = EventRecorder(cluster, instance=settings.instance, handled=metrics.event_handled)
        stack.callback(events.close)

        endpoints_looked = time.monotonic()

        def endpoints_passed(_: bool) -> None:
            nonlocal endpoints_looked
            endpoints_looked = time.monotonic()

        def passed(whole: bool) -> None:
            health.progressed()
            metrics.progressed()
            # A thread that hangs shows as well: the resync is of both. An API server that is away does not: readiness says
            # so, and a restart would mend nothing.
            if time.monotonic() - endpoints_looked < STALE_SECONDS:
                if whole:
                    health.met(Need.CACHES_LISTED)
                health.resynced()

        def answered(yes: bool) -> None:
            if yes:
                metrics.exchange_answered()
                health.reached(Contact.EXCHANGE)
            else:
                metrics.exchange_silent()

        def seen(kind: str) -> None:
            metrics.watched(Resource(kind))
            health.reached(Contact.API_SERVER)

        def endpoints_stand(ready: int, not_ready: int) -> None:
            metrics.endpoints({EndpointStanding.READY: ready, EndpointStanding.NOT_READY: not_ready})

        reporter = Reporter(metrics, events)
        reconciler = SiteReconciler(
            cluster,
            Folder(settings.handover),
            namespace=settings.namespace,
            on_status=reporter.status_written,
            on_pass=passed,
            on_seen=seen,
        )
        endpoints = EndpointReconciler(
            cluster,
            CheckedReleases(settings.handover),
            AskService(settings.inference_url),
            namespace=settings.namespace,
            template=settings.inference,
            on_status=reporter.status_written,
            on_pass=endpoints_passed,
            on_seen=seen,
            on_ready=endpoints_stand,
        )

        def link_changed(state: LinkState) -> None:
            metrics.link(state.reason)
            reconciler.link_changed(state)

        link = Link(
            cluster,
            RealSiteExchange(client),
            namespace=settings.namespace,
            silo=settings.silo,
            hub=fingerprint(settings.hub_key).hex(),
            version=__version__,
            now=time.time,
            on_answer=answered,
            on_state=link_changed,
            on_release=reconciler.wake,
        )
        link_changed(link.state)
        yield SiteOperator(link, reconciler, endpoints, health)
