"""The operator's Prometheus metrics behind a typed facade: label values are of closed enums, never free text.

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` on counters. All series of a small
label set exist from the start, so that `rate()` sees the first increment and an absent series is a broken operator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from ..api.reasons import LinkReason
from ..api.round import Phase
from ..plan.kinds import Kind
from ..plan.types import JobKind
from .subject import Resource
from .transitions import bounded

PREFIX: Final = "fedgestalt_operator"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Outcome(StrEnum):
    """How a reconcile ended."""

    OK = "ok"
    CONFLICT = "conflict"
    """The object had changed, or another decision stood: planned anew."""
    UNAVAILABLE = "unavailable"
    """The exchange or the API server did not answer."""
    INVALID = "invalid"
    """The object could not be read."""
    ERROR = "error"
    """Anything else: look into the log."""


class SiloStanding(StrEnum):
    """Where a registered silo stands; each is counted in exactly one."""

    CONNECTED = "connected"
    LOST = "lost"
    NEVER_HEARD = "never_heard"
    NOT_ACCEPTED = "not_accepted"


class EndpointStanding(StrEnum):
    """Whether an InferenceEndpoint serves what it should."""

    READY = "ready"
    NOT_READY = "not_ready"


class EventOutcome(StrEnum):
    """What became of a Kubernetes Event."""

    WRITTEN = "written"
    HELD_BACK = "held_back"
    """Its object had too many within the minute, or too many waited."""
    LOST = "lost"
    """The API server did not take it."""


class Metrics:
    """All metrics of one operator, in a registry of their own. Safe for threads.

    Args:
        registry: where they are registered; a fresh one by default.
        now: Unix seconds, read when a reconcile ends and when the exchange's lag is scraped.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        # A `_created` gauge beside every counter doubles the series and is of use to nobody here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry if registry is not None else CollectorRegistry()
        self._now = now
        ProcessCollector(registry=self.registry)
        self._reconciles = self._counter("reconciles_total", "Reconciles that ended.", "kind", "outcome")
        self._seconds = self._histogram("reconcile_seconds", "How long a reconcile took.", "kind")
        self._queue = self._gauge("queue_depth", "Keys that wait for a worker or are being reconciled.")
        self._waited = self._histogram("queue_wait_seconds", "How long a key waited for a worker.")
        self._rounds = self._gauge("rounds", "FederationRounds by phase.", "phase")
        self._silos = self._gauge("silos", "Registered silos by standing.", "state")
        self._endpoints = self._gauge("endpoints", "InferenceEndpoints by standing.", "state")
        self._jobs = self._counter("jobs_created_total", "Jobs created.", "kind")
        self._decisions = self._counter("decisions_total", "Decisions posted to boards.", "kind")
        self._transitions = self._counter(
            "transitions_total", "Changes that a status or a decision told.", "kind", "reason"
        )
        self._writes = self._counter("status_writes_total", "Statuses written.", "kind")
        self._events = self._counter("events_total", "Kubernetes Events by what became of them.", "outcome")
        self._watched = self._gauge(
            "watch_last_event_timestamp_seconds",
            "When a watch, or the list of a resync, last got through.",
            "kind",
        )
        self._last = self._gauge("last_reconcile_timestamp_seconds", "When a reconcile or resync last ended.")
        self._up = self._gauge("exchange_up", "1 if the exchange answered the last request, else 0.")
        lag = self._gauge(
            "exchange_lag_seconds", "Seconds since the exchange last answered, or since the start."
        )
        self._link = self._gauge(
            "link_state", "1 for how a site stands with its hub's exchange, else 0.", "reason"
        )
        self._answered = now()
        lag.set_function(lambda: max(0.0, self._now() - self._answered))
        self._begin()

    def reconciled(self, kind: Resource, outcome: Outcome, seconds: float) -> None:
        """A reconcile of an object of `kind` ended after `seconds`."""
        self._reconciles.labels(kind.value, outcome.value).inc()
        self._seconds.labels(kind.value).observe(seconds)
        self.progressed()

    def progressed(self) -> None:
        """A reconcile or a resync ended now."""
        self._last.set(self._now())

    def queue_depth(self, depth: int) -> None:
        """Keys that wait for a worker or are with one."""
        self._queue.set(depth)

    def queue_waited(self, seconds: float) -> None:
        """A worker took a key that had waited for `seconds`."""
        self._waited.observe(seconds)

    def rounds(self, phases: Mapping[Phase, int]) -> None:
        """How many rounds are in each phase; phases that are not named have none."""
        for phase in Phase:
            self._rounds.labels(phase.value).set(phases.get(phase, 0))

    def silos(self, standings: Mapping[SiloStanding, int]) -> None:
        """How many silos stand where; standings that are not named have none."""
        for standing in SiloStanding:
            self._silos.labels(standing.value).set(standings.get(standing, 0))

    def endpoints(self, standings: Mapping[EndpointStanding, int]) -> None:
        """How many InferenceEndpoints stand where; standings that are not named have none."""
        for standing in EndpointStanding:
            self._endpoints.labels(standing.value).set(standings.get(standing, 0))

    def job_created(self, kind: JobKind) -> None:
        """A Job was created by this call (one that was there already is none)."""
        self._jobs.labels(kind.value).inc()

    def decided(self, kind: Kind) -> None:
        """A decision was posted."""
        self._decisions.labels(kind.value).inc()

    def transitioned(self, kind: Resource, reason: str) -> None:
        """An object changed. A reason outside the closed enums counts as `Other`."""
        self._transitions.labels(kind.value, bounded(reason)).inc()

    def status_written(self, kind: Resource) -> None:
        """A status was written (one that was equal already is none)."""
        self._writes.labels(kind.value).inc()

    def event_handled(self, outcome: EventOutcome) -> None:
        """A Kubernetes Event was written, held back or lost."""
        self._events.labels(outcome.value).inc()

    def watched(self, kind: Resource) -> None:
        """A watch delivered something, if only a bookmark, or a list got through: quiet is not stale."""
        self._watched.labels(kind.value).set(self._now())

    def exchange_answered(self) -> None:
        """The exchange answered a request."""
        self._answered = self._now()
        self._up.set(1)

    def exchange_silent(self) -> None:
        """The exchange did not answer a request."""
        self._up.set(0)

    def link(self, reason: LinkReason) -> None:
        """How a site's link stands. A hub has none, and no such series."""
        for each in LinkReason:
            self._link.labels(each.value).set(each is reason)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics and their content type, in the format that the `Accept` header prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace=PREFIX, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, namespace=PREFIX, registry=self.registry, buckets=_SECONDS)

    def _begin(self) -> None:
        """Let the series of the small label sets exist."""
        for kind in Resource:
            self._writes.labels(kind.value)
            for outcome in Outcome:
                self._reconciles.labels(kind.value, outcome.value)
        for job in JobKind:
            self._jobs.labels(job.value)
        for event in EventOutcome:
            self._events.labels(event.value)
        self.rounds({})
        self.silos({})
        self.endpoints({})
