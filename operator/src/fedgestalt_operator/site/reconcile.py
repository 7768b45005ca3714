"""The site, once: what the cluster and the agent's folder hold, planned, and written where it differs."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ..api import grant, release, task
from ..kube.errors import ClusterError, Gone, NotFound
from ..kube.port import Cluster, Document
from .folder import Folder, Mark
from .mirror import is_mirrored
from .planning import Seen, SitePlan, plan_site
from .state import LinkState

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.5
RESYNC_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 20.0
PAUSE_SECONDS: Final = 2.0


StatusSink = Callable[[Document, Mapping[str, Any], Mapping[str, Any]], object]


class SiteReconciler:
    """Reconciles SiloTasks and ParticipationGrants of one namespace with the agent's folder.

    Nothing is remembered: a restarted one comes to the same files and the same statuses, and writes none that are so.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Folder,
        *,
        namespace: str,
        now: Callable[[], float] = time.time,
        on_status: StatusSink = lambda document, old, new: None,
        on_pass: Callable[[bool], None] = lambda _: None,
        on_seen: Callable[[str], None] = lambda _: None,
    ) -> None:
        """
        Args:
            now: Unix time by the site's clock.
            on_status: told (document, old status, new status) after a status was written.
            on_pass: told after each pass of `run` whether it came to its end.
            on_seen: told the kind whenever a list or a watch got through, bookmarks too.
        """
        self._cluster, self._folder, self._namespace, self._now = cluster, folder, namespace, now
        self._on_status, self._on_pass, self._on_seen = on_status, on_pass, on_seen
        self._problems: tuple[str, ...] = ()
        self._link: LinkState | None = None
        self._stopping, self._changed = threading.Event(), threading.Event()

    def reconcile(self) -> SitePlan:
        """One pass.

        Raises:
            ClusterError, OSError: it was cut short; call again.
        """
        tasks, _ = self._cluster.list(task.KIND, self._namespace)
        grants, _ = self._cluster.list(grant.KIND, self._namespace)
        releases, _ = self._cluster.list(release.KIND, self._namespace)
        seen = Seen(
            tuple(tasks),
            tuple(grants),
            self._folder.said(),
            self._folder.uses(),
            tuple(document for document in releases if is_mirrored(document)),
            self._folder.checked(),
            self._link,
        )
        plan = plan_site(seen, self._now())
        # Grants first: a task that comes with its grant must not be refused for want of it.
        self._folder.put_grants(plan.grant_files)
        self._folder.put_tasks(plan.task_files)
        self._show(task.KIND, seen.tasks, plan.task_status)
        self._show(grant.KIND, seen.grants, plan.grant_status)
        self._show(release.KIND, seen.releases, plan.release_status)
        if plan.problems != self._problems:
            for problem in plan.problems:
                log.error("%s", problem)
            self._problems = plan.problems
        return plan

    def run(self) -> None:
        """Reconcile whenever the cluster or the folder changes, a grant ends, or a minute has passed, until `stop`."""
        watchers = [
            threading.Thread(target=self._watch, args=(kind,), name=f"watch {kind}", daemon=True)
            for kind in (task.KIND, grant.KIND)
        ]
        for watcher in watchers:
            watcher.start()
        mark: Mark = ()
        due = 0.0
        while not self._stopping.is_set():
            fresh = self._folder.mark()
            if self._changed.is_set() or fresh != mark or self._now() >= due:
                self._changed.clear()
                try:
                    plan = self.reconcile()
                except (ClusterError, OSError) as error:
                    log.warning("site: %s", error)
                    self._on_pass(False)
                    self._stopping.wait(PAUSE_SECONDS)
                    self._changed.set()
                    continue
                self._on_pass(True)
                mark = fresh
                due = min((self._now() + RESYNC_SECONDS, *_ends(plan)))
            self._changed.wait(TICK_SECONDS)
        for watcher in watchers:
            watcher.join(PAUSE_SECONDS)

    def wake(self) -> None:
        """Something changed that no watch tells, such as a Release that came. From any thread."""
        self._changed.set()

    def link_changed(self, state: LinkState) -> None:
        """The link stands otherwise; tasks will show it. From any thread."""
        self._link = state
        self._changed.set()

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()
        self._changed.set()

    def _watch(self, kind: str) -> None:
        while not self._stopping.is_set():
            try:
                _, version = self._cluster.list(kind, self._namespace)
                self._on_seen(kind)
                self._changed.set()  # of what lay between two watches nobody was told
                for event in self._events(kind, version):
                    if event:
                        self._changed.set()
            except Exception as error:
                # Whatever it is, a watch that ended for good would leave the site blind between two resyncs.
                log.warning("watching %s: %s", kind, error, exc_info=not isinstance(error, ClusterError))
                self._stopping.wait(PAUSE_SECONDS)

    def _events(self, kind: str, version: str) -> Iterator[bool]:
        with contextlib.suppress(Gone):
            for event in self._cluster.watch(kind, self._namespace, version, WATCH_SECONDS):
                if self._stopping.is_set():
                    return
                self._on_seen(kind)
                yield bool(event.object["metadata"].get("name"))  # a bookmark has none

    def _show(
        self, kind: str, documents: tuple[Document, ...], statuses: Mapping[str, Mapping[str, Any]]
    ) -> None:
        for document in documents:
            name = document["metadata"]["name"]
            status = statuses.get(name)
            old = document.get("status", {})
            if status is None or old == status:
                continue
            try:
                self._cluster.patch_status(kind, self._namespace, name, status)
            except NotFound:
                continue  # it went meanwhile
            except ValueError as error:
                log.error("%s %s: its status was not taken: %s", kind, name, error)
                continue
            self._on_status(document, old, status)


def _ends(plan: SitePlan) -> tuple[float, ...]:
    return () if plan.next_look is None else (plan.next_look + 1.0,)
