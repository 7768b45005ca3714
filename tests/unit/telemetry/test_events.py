"""Events are named for what they tell, counted up, bounded, and never in the way."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fedgestalt_operator.kube.errors import ClusterError
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.telemetry.events import EventRecorder, Limiter
from fedgestalt_operator.telemetry.metrics import EventOutcome
from fedgestalt_operator.telemetry.subject import Resource, Subject
from fedgestalt_operator.telemetry.transitions import Severity, Transition, TransitionKind

NS = "federation"
ROUND = Subject(Resource.FEDERATION_ROUND, NS, "gm", "u-1", "fedgestalt.org/v1alpha1", "17")
LOST = Transition(TransitionKind.SILO, "SiloLost", "west is silent", Severity.WARNING, silo="west")
BACK = replace(LOST, reason="SiloBack", message="west is back", severity=Severity.NORMAL)


class Recording:
    """A recorder over a cluster in memory, its clock and what became of its Events."""

    def __init__(self, cluster: Any = None, **options: Any) -> None:
        self.now = 1_000.0
        self.cluster = cluster if cluster is not None else MemoryCluster()
        self.outcomes: list[EventOutcome] = []
        self.recorder = EventRecorder(
            self.cluster,
            instance="hub-0",
            handled=self.outcomes.append,
            now=lambda: self.now,
            per_second=10_000,
            **options,
        )

    def events(self) -> list[dict[str, Any]]:
        """Close, then list what was written."""
        self.recorder.close()
        found, _ = self.cluster.list("Event", NS)
        return found


def test_an_event_names_its_object_reason_and_message():
    recording = Recording()
    recording.recorder.record(ROUND, [LOST])
    (event,) = recording.events()
    assert event["metadata"]["name"].startswith("gm.")
    assert event["metadata"]["namespace"] == NS
    assert event["involvedObject"] == {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "FederationRound",
        "namespace": NS,
        "name": "gm",
        "uid": "u-1",
        "resourceVersion": "17",
    }
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "SiloLost", "west is silent")
    assert event["firstTimestamp"] == event["lastTimestamp"] == "1970-01-01T00:16:40Z"
    assert recording.outcomes == [EventOutcome.WRITTEN]


def test_a_repeated_change_counts_up_the_event_that_is_there():
    recording = Recording()
    recording.recorder.record(ROUND, [LOST, BACK])
    recording.now += 30
    recording.recorder.record(ROUND, [LOST])
    back, lost = sorted(recording.events(), key=lambda e: e["count"])
    assert (back["count"], lost["count"]) == (1, 2)
    assert lost["firstTimestamp"] == "1970-01-01T00:16:40Z"
    assert lost["lastTimestamp"] == "1970-01-01T00:17:10Z"


def test_a_restarted_operator_counts_on():
    first = Recording()
    first.recorder.record(ROUND, [LOST])
    first.recorder.close()
    second = Recording(first.cluster)
    second.recorder.record(ROUND, [LOST])
    (event,) = second.events()
    assert event["count"] == 2


def test_another_object_of_the_same_name_has_its_own_event():
    recording = Recording()
    recording.recorder.record(ROUND, [LOST])
    recording.recorder.record(replace(ROUND, uid="u-2"), [LOST])
    assert len(recording.events()) == 2


def test_too_many_of_one_object_in_a_minute_are_held_back():
    recording = Recording(per_minute=3)
    changes = [replace(LOST, message=f"change {i}") for i in range(5)]
    recording.recorder.record(ROUND, changes)
    recording.recorder.record(replace(ROUND, uid="u-2", name="other"), changes[:1])
    recording.now += 60
    recording.recorder.record(ROUND, changes[4:])
    messages = sorted(e["message"] for e in recording.events() if e["involvedObject"]["name"] == "gm")
    assert messages == ["change 0", "change 1", "change 2", "change 4"]
    assert recording.outcomes.count(EventOutcome.HELD_BACK) == 2
    assert recording.outcomes.count(EventOutcome.WRITTEN) == 5


def test_the_limiter_forgets_objects_beyond_its_bound():
    limiter = Limiter(most=1, keys=2)
    assert [limiter.admit(key, 0.0) for key in ("a", "a", "b", "c")] == [True, False, True, True]
    assert limiter.admit("a", 0.0)
    assert not limiter.admit("c", 59.9)
    assert limiter.admit("c", 60.0)


class Refusing(MemoryCluster):
    """A cluster that takes no Events for a while."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def create(self, document: Mapping[str, Any]) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return super().create(document)


@pytest.mark.parametrize("error", [ClusterError("503"), ValueError("invalid"), OSError("reset")])
def test_a_cluster_that_takes_no_events_disturbs_nothing(error, caplog):
    cluster = Refusing(error)
    done = threading.Event()
    recording = Recording(cluster)
    recording.recorder.record(ROUND, [LOST, BACK])
    while len(recording.outcomes) < 2:
        done.wait(0.01)
    assert recording.outcomes == [EventOutcome.LOST, EventOutcome.LOST]
    cluster.error = None
    recording.recorder.record(ROUND, [LOST])
    (event,) = recording.events()
    assert event["reason"] == "SiloLost"
    assert [r.levelname for r in caplog.records if "Event" in r.message] == ["WARNING"]


class Stuck(MemoryCluster):
    """A cluster whose answers do not come until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.released = threading.Event(), threading.Event()

    def create(self, document: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.set()
        assert self.released.wait(10)
        return super().create(document)


def test_a_stuck_cluster_holds_back_events_and_never_the_caller():
    cluster = Stuck()
    recording = Recording(cluster, waiting=2, per_minute=100)
    recording.recorder.record(ROUND, [LOST])
    assert cluster.asked.wait(10)
    recording.recorder.record(ROUND, [replace(LOST, message=f"change {i}") for i in range(5)])
    assert recording.outcomes == [EventOutcome.HELD_BACK] * 3
    recording.recorder.close(timeout=0.05)
    cluster.released.set()
    recording.recorder.record(ROUND, [BACK])
    assert recording.outcomes.count(EventOutcome.HELD_BACK) == 4


def test_a_peers_text_is_cleaned_and_cut():
    recording = Recording()
    recording.recorder.record(ROUND, [replace(LOST, message="a\n" + "b" * 5_000, reason="R" * 500)])
    (event,) = recording.events()
    assert event["message"].startswith("a b")
    assert len(event["message"]) <= 1024
    assert len(event["reason"]) <= 128
