"""The hub's SiloTasks show what their sites last reported: a projection, written where it changed."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from ..api.round import FederationRound
from ..api.task import KIND, TaskPhase
from ..kube.labels import ROUND_UID
from ..kube.port import Cluster
from ..plan.names import silo_of_task
from ..plan.types import TaskState

log = logging.getLogger(__name__)

_OVER: Final = (TaskPhase.SUCCEEDED, TaskPhase.FAILED)


class TaskMirror:
    """Writes SiloTask.status at the hub. What was written last is remembered only to save looking."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._open: dict[str, Counter[str]] = {}

    def show(self, round: FederationRound, tasks: Mapping[str, TaskState]) -> None:
        """Let the round's SiloTasks say what their sites say."""
        uid = round.metadata.uid
        wanted = {name: status_of(state) for name, state in tasks.items()}
        mark = hash(repr(sorted(wanted.items())))
        alive = Counter(silo_of_task(name) for name, state in tasks.items() if state.phase not in _OVER)
        with self._lock:
            self._open[uid] = alive
            if not wanted or self._seen.get(uid) == mark:
                return
        documents, _ = self._cluster.list(KIND, round.metadata.namespace, {ROUND_UID: uid})
        for document in documents:
            name = document["metadata"]["name"]
            status, shown = wanted.get(name), document.get("status", {})
            # A task that is over stays over, whatever a late report says; the API server insists on it too.
            if status is not None and shown != status and shown.get("phase") not in _OVER:
                try:
                    self._cluster.patch_status(KIND, round.metadata.namespace, name, status)
                except ValueError as error:
                    # A projection that came too late must not keep the round's own status from being written.
                    log.warning("status of task %s: %s", name, error)
        with self._lock:
            self._seen[uid] = mark

    def look_again(self) -> None:
        """Forget what was written: a status that somebody deleted comes back at the next look."""
        with self._lock:
            self._seen.clear()

    def open_tasks(self) -> Mapping[str, int]:
        """Tasks that are not over, by silo, of all rounds that were shown."""
        with self._lock:
            return sum(self._open.values(), Counter[str]())

    def forget(self, uid: str) -> None:
        """The round is gone."""
        with self._lock:
            self._seen.pop(uid, None)
            self._open.pop(uid, None)


def status_of(state: TaskState) -> dict[str, Any]:
    """A task's state as a SiloTask shows it, in steps of 5 %."""
    status: dict[str, Any] = {"phase": state.phase.value, "percent": round(100 * state.fraction) // 5 * 5}
    if state.reason:
        status["reason"] = state.reason[:64]
    if state.message:
        status["message"] = state.message[:1024]
    return status
