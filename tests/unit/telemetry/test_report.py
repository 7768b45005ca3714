"""One status write is told to the log, the metrics and the Events alike."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pytest

from fedgestalt_operator.plan.types import Decision
from fedgestalt_operator.telemetry.metrics import Metrics
from fedgestalt_operator.telemetry.report import Reporter
from fedgestalt_operator.telemetry.subject import Subject
from fedgestalt_operator.telemetry.transitions import Transition

DOCUMENT = {
    "apiVersion": "fedgestalt.org/v1alpha1",
    "kind": "SiloTask",
    "metadata": {"name": "fg-1", "namespace": "site", "uid": "u-9", "resourceVersion": "4"},
}


class Kept:
    def __init__(self) -> None:
        self.told: list[tuple[Subject, list[Transition]]] = []

    def record(self, subject: Subject, transitions: Iterable[Transition]) -> None:
        self.told.append((subject, list(transitions)))


def test_a_change_is_logged_counted_and_recorded(caplog):
    metrics, kept = Metrics(), Kept()
    with caplog.at_level(logging.INFO):
        Reporter(metrics, kept).status_written(
            DOCUMENT, {"phase": "Running"}, {"phase": "Failed", "reason": "DataInvalid"}
        )
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    ((subject, (transition,)),) = kept.told
    assert (subject.name, subject.uid, transition.reason) == ("fg-1", "u-9", "DataInvalid")
    value = metrics.registry.get_sample_value
    assert value("fedgestalt_operator_status_writes_total", {"kind": "SiloTask"}) == 1
    labels = {"kind": "SiloTask", "reason": "DataInvalid"}
    assert value("fedgestalt_operator_transitions_total", labels) == 1


def test_a_write_that_changes_no_state_is_counted_and_not_told(caplog):
    metrics, kept = Metrics(), Kept()
    with caplog.at_level(logging.INFO):
        Reporter(metrics, kept).status_written(
            DOCUMENT, {"phase": "Running", "percent": 5}, {"phase": "Running", "percent": 10}
        )
    assert (caplog.records, kept.told) == ([], [])
    value = metrics.registry.get_sample_value
    assert value("fedgestalt_operator_status_writes_total", {"kind": "SiloTask"}) == 1


def test_decisions_are_counted_and_voids_and_retries_are_told(caplog):
    metrics, kept = Metrics(), Kept()
    document = {**DOCUMENT, "kind": "FederationRound"}
    decisions = [
        Decision(1, "r50", 2, 1, "keyset", {"silos": []}),
        Decision(1, "r50", 2, 1, "retry", {"reason": "TooFewUploads", "scale": 1}),
    ]
    with caplog.at_level(logging.INFO):
        Reporter(metrics, kept).decided(document, decisions)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    value = metrics.registry.get_sample_value
    assert value("fedgestalt_operator_decisions_total", {"kind": "keyset"}) == 1
    assert value("fedgestalt_operator_decisions_total", {"kind": "retry"}) == 1
    ((_, (transition,)),) = kept.told
    assert (transition.reason, transition.t) == ("TooFewUploads", 2)


def test_a_kind_that_is_none_of_ours_is_refused():
    with pytest.raises(ValueError, match="Secret"):
        Reporter(Metrics()).status_written({**DOCUMENT, "kind": "Secret"}, None, {})
