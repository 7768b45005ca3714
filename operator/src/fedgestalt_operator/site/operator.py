"""The site's operator: the link and the reconciler beside each other, until a signal or `stop`."""

from __future__ import annotations

import threading

from ..telemetry.health import Health
from .link import Link
from .reconcile import SiteReconciler


class SiteOperator:
    """Runs until `stop`. Link and reconciler meet only in the cluster: either goes on without the other."""

    def __init__(self, link: Link, reconciler: SiteReconciler, health: Health) -> None:
        self._link, self._reconciler, self._health = link, reconciler, health

    def run(self) -> None:
        """Serve; returns when stopped, after the work at hand."""
        link = threading.Thread(target=self._link.run, name="link", daemon=True)
        link.start()
        try:
            self._reconciler.run()
        finally:
            self._health.closing()
            self._link.stop()
            link.join(GRACE_SECONDS)

    def stop(self) -> None:
        """Let `run` return."""
        self._reconciler.stop()
        self._link.stop()


GRACE_SECONDS = 10.0
