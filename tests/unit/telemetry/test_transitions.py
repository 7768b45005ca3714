"""Changes between two statuses are told once, with a closed reason, and nothing is told where nothing changed."""

from __future__ import annotations

from typing import Any

from fedgestalt_operator.api import reasons
from fedgestalt_operator.plan.types import Decision
from fedgestalt_operator.telemetry.subject import Resource
from fedgestalt_operator.telemetry.transitions import (
    OTHER,
    Severity,
    Transition,
    TransitionKind,
    TransitionReason,
    bounded,
    of_decisions,
    of_status,
)

ROUND = Resource.FEDERATION_ROUND


def condition(type: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": type, "status": status, "reason": reason, "message": message, "observedGeneration": 1}


def silo(name: str, *, connected: bool = True, **more: Any) -> dict[str, Any]:
    return {"name": name, "connected": connected, "out": False, **more}


def status(phase: str = "Training", **more: Any) -> dict[str, Any]:
    return {
        "phase": phase,
        "enrolment": 1,
        "silos": [silo("north"), silo("west")],
        "members": [{"name": "r50", "done": 0, "rounds": 3, "skipped": []}],
        "conditions": [
            condition("Succeeded", "Unknown", phase),
            condition("Suspended", "False", "NotRequested"),
        ],
        **more,
    }


def told(found: list[Transition]) -> list[tuple[str, str]]:
    return [(t.kind.value, t.reason) for t in found]


def test_equal_statuses_tell_nothing():
    assert of_status(ROUND, status(), status()) == []


def test_progress_alone_tells_nothing():
    more = status(members=[{"name": "r50", "done": 2, "rounds": 3, "skipped": []}])
    more["silos"][0]["task"] = {"phase": "Running", "reason": "", "percent": 45}
    assert of_status(ROUND, status(), more) == []


def test_first_status_tells_the_phase_and_the_enrolment_only():
    found = of_status(ROUND, None, status("Enrolling"))
    assert told(found) == [("phase", "Enrolling"), ("enrolment", "EnrolmentStarted")]
    assert found[0].message == "Enrolling"


def test_a_new_phase_and_its_condition_are_one_transition():
    (found,) = of_status(ROUND, status("Training"), status("Encoding"))
    assert (found.kind, found.reason, found.phase) == (TransitionKind.PHASE, "Encoding", "Encoding")
    assert (found.message, found.severity) == ("Training to Encoding", Severity.NORMAL)


def test_a_failed_round_is_a_warning_with_its_reason_and_message():
    failed = status("Failed")
    failed["conditions"] = [condition("Succeeded", "False", "QuorumLost", "3 of 4 silos are needed")]
    (found,) = of_status(ROUND, status(), failed)
    assert (found.reason, found.severity) == ("QuorumLost", Severity.WARNING)
    assert found.message == "Training to Failed: 3 of 4 silos are needed"


def test_suspension_is_told_without_alarm():
    suspended = status()
    suspended["conditions"][1] = condition("Suspended", "True", "Requested", "both deadlines stand still")
    (found,) = of_status(ROUND, status(), suspended)
    assert (found.kind, found.reason) == (TransitionKind.CONDITION, "Requested")
    assert found.severity is Severity.NORMAL


def test_a_silo_is_lost_and_comes_back():
    absent = status(silos=[silo("north"), silo("west", connected=False)])
    (lost,) = of_status(ROUND, status(), absent)
    (back,) = of_status(ROUND, absent, status())
    assert (lost.reason, lost.silo, lost.severity) == ("SiloLost", "west", Severity.WARNING)
    assert (back.reason, back.silo, back.severity) == ("SiloBack", "west", Severity.NORMAL)


def test_a_silo_not_yet_heard_is_not_lost():
    absent = status("Pending", enrolment=0, silos=[silo("west", connected=False)])
    assert told(of_status(ROUND, None, absent)) == [("phase", "Pending")]


def test_a_failed_task_is_told_once_although_the_silo_counts_as_absent_and_faulty():
    failed = {"phase": "Failed", "reason": "TrainerFailed", "percent": 40}
    now = status(silos=[silo("north"), silo("west", connected=False, task=failed, fault="TrainerFailed")])
    (found,) = of_status(ROUND, status(), now)
    assert (found.kind, found.reason, found.silo) == (TransitionKind.TASK, "TrainerFailed", "west")
    assert of_status(ROUND, now, now) == []


def test_rows_that_the_kernel_refused_are_not_called_a_fault_that_the_silo_reported():
    (found,) = of_status(ROUND, status(), status(silos=[silo("north"), silo("west", fault="RowsRefused")]))
    assert (found.reason, found.silo, found.severity) == ("RowsRefused", "west", Severity.WARNING)
    assert found.message == "the kernel refused the rows of west"


def test_a_fault_and_a_differing_model_name_the_silo():
    now = status(silos=[silo("north", fault="NonFinite"), silo("west", differs="model r50 t=2")])
    found = of_status(ROUND, status(), now)
    assert [(t.reason, t.silo) for t in found] == [("NonFinite", "north"), ("ModelDiffers", "west")]
    assert all(t.severity is Severity.WARNING for t in found)


def test_each_skipped_communication_round_is_told_once():
    before = status(members=[{"name": "r50", "done": 2, "rounds": 5, "skipped": [1]}])
    after = status(members=[{"name": "r50", "done": 4, "rounds": 5, "skipped": [1, 3, 4]}])
    found = of_status(ROUND, before, after)
    assert [(t.reason, t.member, t.t) for t in found] == [
        ("SurvivorSetBurnt", "r50", 3),
        ("SurvivorSetBurnt", "r50", 4),
    ]


def test_voids_and_retries_come_from_the_decisions():
    decisions = [
        Decision(1, "", 0, 0, "void", {"reason": "SiloLost", "lost": ["west"]}),
        Decision(2, "r50", 3, 1, "retry", {"reason": "TooFewShares", "scale": 1}),
        Decision(2, "r50", 3, 2, "advance", {"hash": b"", "silos": []}),
    ]
    void, retry = of_decisions(decisions)
    assert (void.kind, void.reason) == (TransitionKind.ENROLMENT, "SiloLost")
    assert "west" in void.message
    assert (retry.reason, retry.member, retry.t) == ("TooFewShares", "r50", 3)


def test_a_task_tells_its_reason_and_message():
    before = {"phase": "Running", "reason": "", "percent": 10}
    after = {"phase": "Failed", "reason": "DataInvalid", "message": "12 photos are missing"}
    (found,) = of_status(Resource.SILO_TASK, before, after)
    assert (found.kind, found.reason, found.severity) == (
        TransitionKind.TASK,
        "DataInvalid",
        Severity.WARNING,
    )
    assert found.message == "Running to Failed: 12 photos are missing"


def test_a_revoked_grant_is_a_warning():
    before = {"conditions": [condition("Usable", "True", "Granted")]}
    after = {"conditions": [condition("Usable", "False", "GrantRevoked")]}
    (found,) = of_status(Resource.PARTICIPATION_GRANT, before, after)
    assert (found.reason, found.severity) == ("GrantRevoked", Severity.WARNING)


def test_a_rotation_that_is_due_is_a_warning_and_one_that_is_not_is_silent():
    calm = {"conditions": [condition("RotationDue", "False", "NotDue")]}
    assert of_status(Resource.RELEASE, None, calm) == []
    due = {"conditions": [condition("RotationDue", "True", "Withdrawal")]}
    (found,) = of_status(Resource.RELEASE, calm, due)
    assert found.severity is Severity.WARNING


def test_an_endpoint_that_loads_is_no_alarm():
    starting = {
        "conditions": [
            condition("Loaded", "False", "Loading"),
            condition("Ready", "False", "NotLoaded"),
        ]
    }
    found = of_status(Resource.INFERENCE_ENDPOINT, None, starting)
    assert [t.severity for t in found] == [Severity.NORMAL, Severity.NORMAL]


def test_an_endpoint_that_goes_on_to_another_release_is_no_alarm_unless_that_fails():
    changing = {
        "conditions": [condition("Loaded", "False", "Loading"), condition("Ready", "False", "WrongRelease")]
    }
    found = of_status(Resource.INFERENCE_ENDPOINT, None, changing)
    assert [t.severity for t in found] == [Severity.NORMAL, Severity.NORMAL]
    failed = {"conditions": [condition("Loaded", "False", "LoadFailed"), changing["conditions"][1]]}
    (found,) = of_status(Resource.INFERENCE_ENDPOINT, changing, failed)
    assert found.severity is Severity.WARNING


def test_an_endpoint_tells_its_promotion_and_why_a_candidate_waits():
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    waiting = {"release": first, "candidate": {"release": second, "reason": "Top5TooLow", "top5": "0.41"}}
    assert told(of_status(Resource.INFERENCE_ENDPOINT, {"release": first}, waiting)) == [
        ("release", "Top5TooLow")
    ]
    (promoted,) = of_status(Resource.INFERENCE_ENDPOINT, waiting, {"release": second})
    assert promoted.reason == TransitionReason.PROMOTED


def test_every_closed_reason_is_known_and_free_text_is_not():
    closed = [m.value for m in reasons.FaultReason] + [m.value for m in reasons.RoundReason]
    assert [bounded(reason) for reason in closed] == closed
    assert bounded("row 17 of patient") == OTHER
