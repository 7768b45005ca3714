"""Kubernetes Events (core/v1) of what changed, written after the status and apart from reconciling.

A name made of object, reason and message lets a repeated change count up the Event that is there instead of adding
one, also after a restart. Too many for one object within a minute are held back, and nothing that goes wrong here
reaches the reconciler: an Event is a courtesy, the status is the record.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from ..api.conditions import timestamp
from ..kube.errors import AlreadyExists, NotFound
from ..kube.port import Cluster, Document
from .logs import clean
from .metrics import EventOutcome
from .subject import Subject
from .transitions import Transition

KIND: Final = "Event"
COMPONENT: Final = "fedgestalt-operator"
MINUTE: Final = 60.0
_KEPT_OBJECTS: Final = 4096
_LONGEST_NAME: Final = 200
_LONGEST_REASON: Final = 128

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An Event that is to be written; `at` is Unix time."""

    subject: Subject
    transition: Transition
    at: float

    @property
    def name(self) -> str:
        """The same for the same object, reason and message."""
        told = "\0".join((self.subject.uid, self.transition.reason, self.transition.message))
        return f"{self.subject.name[:_LONGEST_NAME]}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    def document(self, instance: str) -> Document:
        """The core/v1 Event; `instance` is the name of this pod."""
        subject, moment = self.subject, timestamp(self.at)
        involved = {
            "apiVersion": subject.api_version,
            "kind": subject.kind.value,
            "name": subject.name,
            "uid": subject.uid,
            "resourceVersion": subject.resource_version,
        }
        if subject.namespace:
            involved["namespace"] = subject.namespace
        return {
            "apiVersion": "v1",
            "kind": KIND,
            "metadata": {"name": self.name, "namespace": subject.namespace or "default"},
            "involvedObject": involved,
            "reason": self.transition.reason[:_LONGEST_REASON],
            "message": clean(self.transition.message),
            "type": self.transition.severity.value,
            "count": 1,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": instance,
        }


class Limiter:
    """At most `most` in any minute for one key; remembers a bounded number of keys. Not safe for threads."""

    def __init__(self, most: int, keys: int = _KEPT_OBJECTS) -> None:
        self._most, self._keys = most, keys
        self._past: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, key: str, now: float) -> bool:
        """Whether one more is let through at `now` (seconds); if so it counts."""
        past = self._past.setdefault(key, deque())
        self._past.move_to_end(key)
        while len(self._past) > self._keys:
            self._past.popitem(last=False)
        while past and past[0] <= now - MINUTE:
            past.popleft()
        if len(past) >= self._most:
            return False
        past.append(now)
        return True


def write_event(cluster: Cluster, document: Document) -> None:
    """Create an Event, or count up the one of its name.

    Raises:
        ClusterError: the cluster did not take it.
    """
    try:
        cluster.create(document)
    except AlreadyExists:
        metadata = document["metadata"]
        try:
            found: dict[str, Any] = cluster.get(KIND, metadata["namespace"], metadata["name"])
        except NotFound:  # It expired between the two requests.
            cluster.create(document)
            return
        found |= {
            "count": int(found.get("count") or 1) + 1,
            "lastTimestamp": document["lastTimestamp"],
            "reportingInstance": document["reportingInstance"],
        }
        cluster.apply(found)


class EventRecorder:
    """Takes transitions and writes their Events from a thread of its own. Safe for threads.

    Args:
        cluster: where they are written.
        instance: the name of this pod.
        per_minute: Events for one object in any minute.
        waiting: Events that may wait; more are held back.
        per_second: how fast they are written: a thousand rounds that begin at once need the API server more.
        handled: told what became of each one.
        now: Unix seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        instance: str = "",
        per_minute: int = 20,
        waiting: int = 1000,
        per_second: float = 25.0,
        handled: Callable[[EventOutcome], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._cluster, self._instance, self._handled, self._now = cluster, instance, handled, now
        self._limiter, self._lock = Limiter(per_minute), threading.Lock()
        self._pause = 1.0 / per_second
        self._queue: queue.Queue[PendingEvent | None] = queue.Queue(waiting)
        self._ending = threading.Event()
        self._last_complaint = -MINUTE
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def record(self, subject: Subject, transitions: Iterable[Transition]) -> None:
        """Queue the Events of an object's changes. Never waits, never fails."""
        for transition in transitions:
            now = self._now()
            with self._lock:
                admitted = not self._ending.is_set() and self._limiter.admit(subject.uid, now)
            # The text as it will stand in the Event, so that its name is made of that.
            event = PendingEvent(subject, replace(transition, message=clean(transition.message)), now)
            try:
                if admitted:
                    self._queue.put_nowait(event)
            except queue.Full:
                admitted = False
            if not admitted:
                self._handled(EventOutcome.HELD_BACK)

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, at full speed, for at most `timeout` seconds; record nothing more."""
        with self._lock:
            self._ending.set()
        end = time.monotonic() + timeout
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            outcome = EventOutcome.WRITTEN
            try:
                write_event(self._cluster, event.document(self._instance))
            # Whatever an adapter raises: this thread must go on, and the loss is counted and told.
            except Exception as error:
                outcome = EventOutcome.LOST
                self._complain(error)
            self._handled(outcome)
            self._ending.wait(self._pause)

    def _complain(self, error: Exception) -> None:
        """Once a minute: an API server that refuses Events refuses all of them."""
        now = time.monotonic()
        if now - self._last_complaint >= MINUTE:
            self._last_complaint = now
            log.warning("an Event was not written: %s: %s", type(error).__name__, error)
