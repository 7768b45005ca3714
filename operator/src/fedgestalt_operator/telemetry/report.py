"""One call after a status write: log lines, counts and Events of what changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..plan.kinds import Kind
from ..plan.types import Decision
from .logs import log_transition
from .metrics import Metrics
from .subject import Subject
from .transitions import Transition, of_decisions, of_status


class Recorder(Protocol):
    """Where Events go: an `events.EventRecorder`."""

    def record(self, subject: Subject, transitions: Iterable[Transition]) -> None:
        """Queue Events. Never waits, never fails."""
        ...


@dataclass(frozen=True)
class Reporter:
    """Tells changes to everyone who listens. Safe for threads."""

    metrics: Metrics
    events: Recorder | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("fedgestalt_operator"))

    def status_written(
        self, document: Mapping[str, Any], old: Mapping[str, Any] | None, new: Mapping[str, Any]
    ) -> list[Transition]:
        """The status of `document` was written: `old` became `new`. Returns what was told.

        Raises:
            ValueError: the document is of a kind that the operator does not deal in.
        """
        subject = Subject.of(document)
        found = of_status(subject.kind, old, new)
        self.metrics.status_written(subject.kind)
        self.tell(subject, found)
        return found

    def decided(self, document: Mapping[str, Any], decisions: Sequence[Decision]) -> None:
        """Decisions of a round were posted. Voids and retries, which no status shows, are told here.

        Raises:
            ValueError: the document is of a kind that the operator does not deal in.
        """
        for decision in decisions:
            self.metrics.decided(Kind(decision.kind))
        self.tell(Subject.of(document), of_decisions(decisions))

    def tell(self, subject: Subject, transitions: Iterable[Transition]) -> None:
        """Log, count and record changes."""
        found = list(transitions)
        for transition in found:
            log_transition(self.log, subject, transition)
            self.metrics.transitioned(subject.kind, transition.reason)
        if self.events is not None and found:
            self.events.record(subject, found)
