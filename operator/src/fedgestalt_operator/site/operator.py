"""The site's operator: the link and the reconcilers beside each other, until a signal or `stop`."""

from __future__ import annotations

import threading

from ..telemetry.health import Health
from .endpoints import EndpointReconciler
from .link import Link
from .reconcile import SiteReconciler


class SiteOperator:
    """Runs until `stop`. Link and reconcilers meet only in the cluster: each goes on without the others."""

    def __init__(
        self, link: Link, reconciler: SiteReconciler, endpoints: EndpointReconciler, health: Health
    ) -> None:
        self._link, self._reconciler, self._endpoints = link, reconciler, endpoints
        self._health = health

    def run(self) -> None:
        """Serve; returns when stopped, after the work at hand."""
        beside = [
            threading.Thread(target=self._link.run, name="link", daemon=True),
            threading.Thread(target=self._endpoints.run, name="endpoints", daemon=True),
        ]
        for thread in beside:
            thread.start()
        try:
            self._reconciler.run()
        finally:
            self._health.closing()
            self._link.stop()
            self._endpoints.stop()
            for thread in beside:
                thread.join(GRACE_SECONDS)

    def stop(self) -> None:
        """Let `run` return."""
        self._reconciler.stop()
        self._link.stop()
        self._endpoints.stop()


GRACE_SECONDS = 10.0
