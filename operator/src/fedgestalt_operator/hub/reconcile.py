"""One round, once: look, plan, decide, act, and only then say so in the status.

Nothing is remembered that the board, the cluster and the exchange do not hold, but for what saves a repeated harmless call.
The same class drives rounds in a cluster and on one machine.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ..api.conditions import Condition, ConditionType, Truth, documents, timestamp
from ..api.meta import parse_metadata
from ..api.reasons import RoundReason
from ..api.round import KIND, MANAGED_BY, FederationRound, Phase, parse_round
from ..kube.errors import ClusterError, Conflict, NotFound
from ..kube.port import Cluster, Document
from ..plan import plan
from ..plan.types import DeleteRound, EnsureTask, JobPhase, Plan
from .act import Executor, JobTemplate
from .jobs import JobReader
from .listener import Listener
from .observe import Observer
from .ports import DecisionTaken, ExchangeUnavailable, HubExchange
from .silos import SiloDirectory
from .tasks import TaskMirror
from .vocabulary import Vocabularies

log = logging.getLogger(__name__)

NEWS: Final = 0.0
MAX_WHAT: Final = 250
MAX_SHOWN: Final = 48
"""Characters of it that have a place in a column of `kubectl get`."""


class RoundReconciler:
    """Reconciles the FederationRounds of one namespace. Safe for threads, one of them at a time per round."""

    def __init__(
        self,
        cluster: Cluster,
        exchange: HubExchange,
        *,
        namespace: str = "",
        now: Callable[[], float] = time.time,
        template: JobTemplate | None = None,
        before_job: Callable[[FederationRound], None] = lambda _: None,
        while_job: Callable[[FederationRound], None] = lambda _: None,
        listener: Listener | None = None,
    ) -> None:
        """
        Args:
            now: Unix time by the exchange's clock (`clock.ExchangeClock`).
            before_job: puts in place what the pods of a round's Jobs need, before each Job.
            while_job: keeps it there while one runs; called at each look at the round.
            listener: told what was done.
        """
        self._cluster, self._exchange, self._now = cluster, exchange, now
        self.silos = SiloDirectory(cluster, exchange, namespace, now)
        vocabularies = Vocabularies(cluster, now)
        self._observer = Observer(cluster, exchange, self.silos, JobReader(cluster), vocabularies)
        self._listener, self._while_job = listener or Listener(), while_job
        self._executor = Executor(
            cluster,
            exchange,
            vocabularies,
            template or JobTemplate(),
            before_job,
            self._listener.job_created,
        )
        self._tasks = TaskMirror(cluster, namespace)
        self._lock = threading.Lock()
        self._dropped: dict[str, frozenset[str]] = {}
        self._wrote: dict[str, tuple[str, int]] = {}

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring a round one step further.

        Returns:
            Seconds until it must be looked at again even without news; None: never.

        Raises:
            ClusterError, ExchangeUnavailable: what was asked may or may not have happened; call again.
        """
        try:
            document = self._cluster.get(KIND, namespace, name)
        except NotFound:
            return None
        answer = self.step(document)
        return None if answer is None else answer.requeue_after

    def step(self, document: Document) -> Plan | None:
        """Plan a round's document and carry the plan out; None if it is being deleted."""
        round = parse_round(document)
        if document["metadata"].get("deletionTimestamp"):
            return None
        uid = round.metadata.uid
        with self._lock:
            dropped = self._dropped.get(uid, frozenset())
        try:
            with self._told(
                document, round, document.get("status", {}), but=(ExchangeUnavailable, ClusterError)
            ):
                observed = self._observer.observe(round, dropped)
                answer = plan(round, observed, self._now())
                for decision in answer.decisions:
                    self._executor.post(round, decision, observed.base)
            if answer.decisions:
                self._listener.decided(document, answer.decisions)
            with self._told(document, round, answer.status):
                if any(job.phase is JobPhase.RUNNING for job in observed.jobs.values()):
                    self._while_job(round)  # a token must outlast a Job that waits in a queue
                fresh = self._executor.act(round, answer.actions, observed.base)
        except DecisionTaken as taken:
            # Another process of ours was first, or an answer was lost: what stands is what holds.
            log.info("%s: a decision stood already, or its end (%s)", name_of(round), taken)
            return Plan((), (), document.get("status", {}), NEWS)
        with self._lock:
            if fresh:
                self._dropped[uid] = dropped | fresh
        self._tasks.created(uid, [a.name for a in answer.actions if isinstance(a, EnsureTask)])
        self._tasks.show(round, observed.tasks)
        if answer.requeue_after != NEWS:
            # With a decision just made the next look follows at once, and its status is the one to write.
            self._show(document, round, answer.status)
        if any(isinstance(action, DeleteRound) for action in answer.actions):
            self._delete(round)
        return answer

    def is_own(self, document: Mapping[str, Any]) -> bool:
        """Whether a document differs from the one that was planned for last by our own status alone: no news."""
        metadata = document["metadata"]
        with self._lock:
            wrote = self._wrote.get(metadata["uid"])
        return wrote == (metadata["resourceVersion"], metadata["generation"])

    def look_again(self) -> None:
        """Trust nothing that was remembered to save looking: the resync's part."""
        self.silos.forget()
        self._tasks.look_again()

    def open_tasks(self) -> Mapping[str, int]:
        """Tasks that are not over, by silo, as far as rounds were looked at since the start."""
        return self._tasks.open_tasks()

    def forget(self, uid: str) -> None:
        """A round is gone: free what is remembered of it."""
        with self._lock:
            self._dropped.pop(uid, None)
            self._wrote.pop(uid, None)
        self._tasks.forget(uid)

    @contextlib.contextmanager
    def _told(
        self,
        document: Document,
        round: FederationRound,
        status: Mapping[str, Any],
        but: tuple[type[Exception], ...] = (),
    ) -> Iterator[None]:
        """Whoever waits for this round must read why it stands: the status is written, and then an error goes its way.

        `but` are errors that pass by themselves and tell nothing of this round.
        """
        passing: tuple[type[Exception], ...] = (DecisionTaken, *but)
        try:
            yield
        except passing:
            raise
        except Exception as error:
            if round.managed_by == MANAGED_BY:
                with contextlib.suppress(ClusterError):  # the first error is the one to tell
                    self._show(document, round, blocked(document, status, error, self._now()))
            raise

    def _show(self, document: Document, round: FederationRound, status: Mapping[str, Any]) -> None:
        if not status:
            return  # another controller manages it
        old = document.get("status", {})
        if old != status:
            # Only over what it was planned from: a process that was held up must not undo what came after it.
            seen = document["metadata"]["resourceVersion"]
            written = self._cluster.patch_status(
                KIND, round.metadata.namespace, round.metadata.name, status, seen
            )
            with self._lock:
                # With the generation that was planned for: a watch may show only the last of several changes.
                version = written["metadata"]["resourceVersion"]
                self._wrote[round.metadata.uid] = (version, document["metadata"]["generation"])
            self._listener.status_written(document, old, status)

    def _delete(self, round: FederationRound) -> None:
        log.info("%s: its time to live is over", name_of(round))
        with contextlib.suppress(NotFound, Conflict):
            self._cluster.delete(KIND, round.metadata.namespace, round.metadata.name, round.metadata.uid)


def blocked(document: Document, status: Mapping[str, Any], error: Exception, now: float) -> Mapping[str, Any]:
    """The status of a round whose next step failed: it waits for the hub, until what the planner waited for ends.

    The silos' moves are left out: they may not have been told of them. The same error keeps its time, so that trying
    again is no write. No round is shown as succeeded before what it yields is published.
    """
    old: Mapping[str, Any] = document.get("status", {})
    if old.get("phase") in (Phase.SUCCEEDED, Phase.FAILED):
        return old  # it was shown, and whoever waited for it has gone
    if status.get("phase") == Phase.SUCCEEDED:
        status = _unfinished(status)
    what = f"{type(error).__name__}: {error}"[:MAX_WHAT]
    since = next((w["since"] for w in old.get("waitingFor", ()) if w["what"] == what), timestamp(now))
    wait = {"who": "hub", "what": what, "since": since, "then": "tried again"}
    ends = [w["until"] for w in status.get("waitingFor", ()) if "until" in w]
    if ends:
        wait["until"] = min(ends)
    shown = what if len(what) <= MAX_SHOWN else f"{what[: MAX_SHOWN - 1].rstrip()}…"
    summary = {**status.get("summary", {}), "waiting": f"hub: {shown}"}
    return {**_nothing_known(document), **status, "waitingFor": [wait], "summary": summary}


def _nothing_known(document: Document) -> Mapping[str, Any]:
    """The status of a round that was not looked at yet."""
    meta = parse_metadata(document)
    condition = Condition(
        ConditionType.SUCCEEDED, Truth.UNKNOWN, RoundReason.PENDING, "", meta.created, meta.generation
    )
    return {"phase": Phase.PENDING.value, "conditions": documents([condition])}


def _unfinished(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status of a round that has succeeded, as it was before."""
    phase = Phase.RELEASING if "releaseDigest" in status else Phase.ENROLLING
    conditions = [
        {**c, "status": Truth.UNKNOWN.value, "reason": phase.value, "message": ""}
        if c["type"] == ConditionType.SUCCEEDED
        else c
        for c in status["conditions"]
    ]
    return {**status, "phase": phase.value, "conditions": conditions}


def name_of(round: FederationRound) -> str:
    """How logs name a round."""
    return f"round {round.metadata.name} ({round.metadata.uid[:8]})"
