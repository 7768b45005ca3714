"""InferenceEndpoints of one namespace: what is seen of each, planned, and written where it differs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from ..api import endpoint, release
from ..api.endpoint import InferenceEndpoint, parse_endpoint
from ..api.release import Release, parse_release
from ..kube.deployments import (
    ENDPOINT,
    InferenceTemplate,
    changed,
    child_name,
    manifests,
    owned,
    rollout_of,
)
from ..kube.errors import ClusterError, Forbidden, NotFound
from ..kube.port import Cluster, Document
from ..plan.endpoint import plan_endpoint
from ..plan.endpoint_types import Answer, Checked, EndpointPlan, SeenEndpoint, Serve
from .checked import CheckedReleases
from .news import News
from .service import Ask

log = logging.getLogger(__name__)

DEPLOYMENT: Final = "Deployment"
SERVICE: Final = "Service"
WATCHED: Final = (endpoint.KIND, release.KIND, DEPLOYMENT)
TICK_SECONDS: Final = 0.5
RESYNC_SECONDS: Final = 60.0
SOON_SECONDS: Final = 5.0
"""A service that is about to be ready is asked again so soon: no watch tells what it has loaded."""
PAUSE_SECONDS: Final = 2.0
NO_TEMPLATE: Final = "this site's operator was started without --inference-image and --inference-claim: it can start no service"

StatusSink = Callable[[Document, Mapping[str, Any], Mapping[str, Any]], object]
_Key = tuple[str, str]


class EndpointReconciler:
    """Reconciles InferenceEndpoints with their Deployments, Services and what these say. `run` blocks until `stop`.

    Nothing is remembered: a restarted one comes to the same objects and the same statuses, and writes none that are so.
    """

    def __init__(
        self,
        cluster: Cluster,
        checked: CheckedReleases,
        ask: Ask,
        *,
        namespace: str,
        template: InferenceTemplate | None,
        now: Callable[[], float] = time.time,
        on_status: StatusSink = lambda document, old, new: None,
        on_pass: Callable[[bool], None] = lambda _: None,
        on_seen: Callable[[str], None] = lambda _: None,
        on_ready: Callable[[int, int], None] = lambda ready, not_ready: None,
    ) -> None:
        """
        Args:
            checked: what the agent says of the releases at this site.
            template: of the pods; None where the site was not set up to serve.
            now: Unix time by the site's clock.
            on_status: told (document, old status, new status) after a status was written.
            on_pass: told after each pass of `run` whether it came to its end.
            on_seen: told the kind whenever a list or a watch got through.
            on_ready: told in each pass how many endpoints are ready, and how many are not.
        """
        self._cluster, self._checked, self._ask = cluster, checked, ask
        self._namespace, self._template, self._now = namespace, template, now
        self._on_status, self._on_pass, self._on_seen = on_status, on_pass, on_seen
        self._on_ready = on_ready
        self._complained: set[str] = set()
        self._stopping, self._changed = threading.Event(), threading.Event()

    def reconcile(self) -> bool:
        """One pass. Whether every endpoint is settled: none is expected to change by itself soon.

        Raises:
            ClusterError, OSError: it was cut short; call again.
        """
        found, _ = self._cluster.list(endpoint.KIND, self._namespace)
        standing = [document for document in found if "deletionTimestamp" not in document["metadata"]]
        if not standing:
            self._on_ready(0, 0)
            return True
        releases = tuple(self._releases())
        children: dict[_Key, Document] = {
            (kind, document["metadata"]["name"]): document
            for kind in (DEPLOYMENT, SERVICE)
            for document in self._cluster.list(kind, self._namespace)[0]
        }
        checked = self._checked.read()
        plans = [plan for d in standing if (plan := self._one(d, releases, children, checked)) is not None]
        ready = sum(plan.ready for plan in plans)
        self._on_ready(ready, len(standing) - ready)
        return all(plan.settled for plan in plans)

    def run(self) -> None:
        """Reconcile whenever something changes, soon again while a service is about to be ready, else once a minute."""
        news = News(
            self._cluster,
            self._namespace,
            WATCHED,
            changed=self._changed,
            stopping=self._stopping,
            matters=_matters,
            on_seen=self._on_seen,
        )
        news.start()
        mark, due = (0, 0), 0.0
        while not self._stopping.is_set():
            fresh = self._checked.mark()
            if self._changed.is_set() or fresh != mark or time.monotonic() >= due:
                self._changed.clear()
                pause = self._pass()
                if pause is not None:
                    mark, due = fresh, time.monotonic() + pause
            self._changed.wait(TICK_SECONDS)
        news.join()

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()
        self._changed.set()

    def _pass(self) -> float | None:
        """Seconds until the next one; None after one that failed."""
        try:
            settled = self.reconcile()
        except Exception as error:
            # The thread must go on whatever it was: nobody would notice that clinics are not looked after any more.
            expected = isinstance(error, ClusterError | OSError)
            log.warning("endpoints: %s", error, exc_info=not expected)
            self._on_pass(False)
            self._stopping.wait(PAUSE_SECONDS)
            self._changed.set()
            return None
        self._on_pass(True)
        return RESYNC_SECONDS if settled else SOON_SECONDS

    def _one(
        self,
        document: Document,
        releases: tuple[Release, ...],
        children: Mapping[_Key, Document],
        checked: Mapping[str, Checked] | None,
    ) -> EndpointPlan | None:
        try:
            it = parse_endpoint(document)
        except (ValueError, KeyError, TypeError) as error:
            self._complain(f"InferenceEndpoint {document['metadata']['name']}: cannot be read ({error!r})")
            return None
        live = {kind: children.get((kind, child_name(it))) for kind in (DEPLOYMENT, SERVICE)}
        deployment = live[DEPLOYMENT]
        rollout = rollout_of(deployment) if deployment is not None and owned(it, deployment) else None
        # Without a pod that is ready the Service leads nowhere, and asking would only take time.
        answer = self._ask(child_name(it), self._namespace) if rollout and rollout.available else Answer()
        seen = SeenEndpoint(releases, checked, rollout, answer, self._hindrance(it, live))
        old, now = document.get("status", {}), self._now()
        plan = plan_endpoint(it, seen, old=old, now=now)
        if plan.serve is not None and (refusal := self._apply(it, plan.serve, live)):
            plan = plan_endpoint(it, replace(seen, hindrance=refusal), old=old, now=now)
        self._show(document, plan)
        return plan

    def _hindrance(self, it: InferenceEndpoint, live: Mapping[str, Document | None]) -> str:
        if self._template is None:
            return NO_TEMPLATE
        for kind, found in live.items():
            if found is not None and not owned(it, found):
                return f"a {kind} {child_name(it)} is here that is not this endpoint's: delete it, or rename the endpoint"
        return ""

    def _apply(self, it: InferenceEndpoint, serve: Serve, live: Mapping[str, Document | None]) -> str:
        """Write what is another one than wanted; why it was not taken, or empty."""
        assert self._template is not None
        for wanted in manifests(it, serve, self._template):
            if not changed(wanted, live[wanted["kind"]]):
                continue
            name = f"{wanted['kind']} {wanted['metadata']['name']}"
            try:
                self._cluster.apply(wanted)
            except (ValueError, Forbidden) as error:
                self._complain(f"{name}: {error}")
                return f"{name} was not taken: {error}"
            log.info("%s is for release %s", name, serve.release)
        return ""

    def _show(self, document: Document, plan: EndpointPlan) -> None:
        name, old = document["metadata"]["name"], document.get("status", {})
        if old == plan.status:
            return
        try:
            self._cluster.patch_status(endpoint.KIND, self._namespace, name, plan.status)
        except NotFound:
            return  # it went meanwhile
        except ValueError as error:
            log.error("InferenceEndpoint %s: its status was not taken: %s", name, error)
            return
        self._on_status(document, old, plan.status)

    def _releases(self) -> Iterator[Release]:
        for document in self._cluster.list(release.KIND, self._namespace)[0]:
            try:
                yield parse_release(document)
            except (ValueError, KeyError, TypeError) as error:
                self._complain(f"Release {document['metadata']['name']}: cannot be read ({error!r})")

    def _complain(self, what: str) -> None:
        if what not in self._complained:
            self._complained.add(what)
            log.error("%s", what)


def _matters(document: Document) -> bool:
    """A namespace has Deployments of others, too."""
    return document["kind"] != DEPLOYMENT or ENDPOINT in document["metadata"].get("labels", {})
