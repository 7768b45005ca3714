"""The hub's SiloTasks show what their sites last reported: a projection, written where it changed."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ..api.round import FederationRound
from ..api.task import KIND, TaskPhase
from ..kube.errors import NotFound
from ..kube.labels import ROUND_UID
from ..kube.port import Cluster, Document
from ..plan.names import silo_of_task
from ..plan.types import TaskState

log = logging.getLogger(__name__)

_OVER: Final = (TaskPhase.SUCCEEDED, TaskPhase.FAILED)


class Shown(NamedTuple):
    """What a SiloTask shows, as far as is known: whole statuses of ten thousand tasks would be too much to keep."""

    over: bool
    mark: int


class TaskMirror:
    """Writes SiloTask.status at the hub. What stands there is remembered only to save looking."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._lock = threading.Lock()
        self._shown: dict[str, dict[str, Shown]] = {}
        self._since: dict[str, dict[str, Shown]] = {}
        """What was learnt since the last look at all began: newer than what that look finds."""
        self._open: dict[str, Counter[str]] = {}

    def created(self, uid: str, names: Iterable[str]) -> None:
        """SiloTasks of a round that were created just now: they show nothing yet, unless more is known of them."""
        with self._lock:
            known = self._shown.get(uid, {})
        self._learn(uid, {name: _NOTHING for name in names if name not in known})

    def show(self, round: FederationRound, tasks: Mapping[str, TaskState]) -> None:
        """Let the round's SiloTasks say what their sites say.

        A task that is over stays over, whatever a late report says; the API server insists on it too.
        """
        uid = round.metadata.uid
        alive = Counter(silo_of_task(name) for name, state in tasks.items() if state.phase not in _OVER)
        with self._lock:
            self._open[uid] = alive
            shown = dict(self._shown.get(uid, {}))
        if not tasks.keys() <= shown.keys():
            shown |= self._look(round)
        for name, state in tasks.items():
            status = status_of(state)
            before, now = shown.get(name), _shown(status)
            if before is None or before.over or before == now:
                continue  # it is not there, over, or up to date
            try:
                self._cluster.patch_status(KIND, round.metadata.namespace, name, status)
            except NotFound:
                continue  # somebody deleted it; the planner sees to it
            except ValueError as error:
                # A projection that came too late must not keep the round's own status from being written.
                log.warning("status of task %s: %s", name, error)
            self._learn(uid, {name: now})

    def look_again(self) -> None:
        """Read what all SiloTasks show: a status that somebody deleted comes back at the rounds' next look.

        Raises:
            ClusterError: what was known before still holds.
        """
        with self._lock:
            self._since = {}
        found: dict[str, dict[str, Shown]] = {}
        for page in self._cluster.pages(KIND, self._namespace):
            for document in page:
                uid = document["metadata"].get("labels", {}).get(ROUND_UID, "")
                found.setdefault(uid, {})[document["metadata"]["name"]] = _shown(document.get("status", {}))
        with self._lock:
            for uid, newer in self._since.items():
                found.setdefault(uid, {}).update(newer)
            self._shown = found

    def open_tasks(self) -> Mapping[str, int]:
        """Tasks that are not over, by silo, of all rounds that were shown."""
        with self._lock:
            return sum(self._open.values(), Counter[str]())

    def forget(self, uid: str) -> None:
        """The round is gone."""
        with self._lock:
            self._shown.pop(uid, None)
            self._since.pop(uid, None)
            self._open.pop(uid, None)

    def _look(self, round: FederationRound) -> Mapping[str, Shown]:
        uid = round.metadata.uid
        documents, _ = self._cluster.list(KIND, round.metadata.namespace, {ROUND_UID: uid})
        found = {_name(document): _shown(document.get("status", {})) for document in documents}
        self._learn(uid, found)
        return found

    def _learn(self, uid: str, found: Mapping[str, Shown]) -> None:
        with self._lock:
            for known in (self._shown, self._since):
                known.setdefault(uid, {}).update(found)


def status_of(state: TaskState) -> dict[str, Any]:
    """A task's state as a SiloTask shows it, in steps of 5 %."""
    status: dict[str, Any] = {"phase": state.phase.value, "percent": round(100 * state.fraction) // 5 * 5}
    if state.reason:
        status["reason"] = state.reason[:64]
    if state.message:
        status["message"] = state.message[:1024]
    if state.causes:
        status["causes"] = [cause.value for cause in state.causes]
    return status


def _name(document: Document) -> str:
    name: str = document["metadata"]["name"]
    return name


def _shown(status: Mapping[str, Any]) -> Shown:
    return Shown(status.get("phase") in _OVER, hash(json.dumps(status, sort_keys=True)))


_NOTHING: Final = _shown(status_of(TaskState(TaskPhase.PENDING)))  # the default of the CRD
