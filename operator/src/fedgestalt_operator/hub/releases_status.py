"""Releases: their status follows what the exchange knows of their epochs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from ..api.release import KIND, Release, parse_release
from ..kube.errors import NotFound
from ..kube.port import Cluster
from ..plan.release_status import Seen, release_status
from .listener import Listener
from .ports import ExchangeUnavailable, HubExchange

log = logging.getLogger(__name__)
EVERY: Final = 60.0
"""Seconds between two looks at an epoch: withdrawals are of minutes, not of milliseconds."""


class ReleaseReconciler:
    """Writes the status of Releases where it changed."""

    def __init__(
        self,
        cluster: Cluster,
        exchange: HubExchange,
        *,
        now: Callable[[], float],
        listener: Listener | None = None,
    ) -> None:
        self._cluster, self._exchange, self._now = cluster, exchange, now
        self._listener = listener or Listener()

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Look at one Release; seconds to the next look, None if it is gone."""
        try:
            document = self._cluster.get(KIND, namespace, name)
        except NotFound:
            return None
        old = document.get("status", {})
        release = parse_release(document)
        seen = self._look(release)
        status = release_status(release, seen, now=self._now(), old=old)
        if status != old:
            self._cluster.patch_status(KIND, namespace, name, status)
            self._listener.status_written(document, old, status)
        if seen.epoch is not None and seen.epoch.look_due:
            self._look_for_clusters(release)
        return EVERY

    def _look_for_clusters(self, release: Release) -> None:
        """Once after cases went: the clusters that they were in are gone, and others may be there without them."""
        try:
            self._exchange.discover(release.epoch)
        except ExchangeUnavailable as error:
            log.warning("release %s: clusters are looked for later: %s", release.metadata.name, error)

    def _look(self, release: Release) -> Seen:
        try:
            kept = self._exchange.published(release.digest.removeprefix("sha256:"))
            return Seen(True, kept, self._exchange.epoch(release.epoch))
        except ExchangeUnavailable:
            return Seen(False)
