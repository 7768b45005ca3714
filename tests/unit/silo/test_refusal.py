"""What a site says when it takes no part: which rules, once each, in a field that a program can read."""

import json

from fedgestalt.silo.refusal import MESSAGE_LENGTH, TaskRefusal
from fedgestalt_operator.api.reasons import GrantReason
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan.grants import Mismatch
from fedgestalt_operator.plan.handover import report_of, status_of


def test_each_rule_that_does_not_fit_is_a_cause_and_the_whole_story_a_message() -> None:
    refusal = TaskRefusal.by_grants(
        [
            Mismatch(GrantReason.PEER, "east"),
            Mismatch(GrantReason.PEER, "north"),
            Mismatch(GrantReason.OPERATION, "Rotate"),
        ]
    )
    assert refusal.status() == {
        "phase": "Failed",
        "reason": "GrantMismatch",
        "fraction": 0.0,
        "message": "PeerNotGranted: east; PeerNotGranted: north; OperationNotGranted: Rotate",
        "causes": ["PeerNotGranted", "OperationNotGranted"],
    }


def test_causes_come_through_the_shared_folder_and_the_cluster_to_the_exchange() -> None:
    refusal = TaskRefusal.by_grants(
        [Mismatch(GrantReason.OPERATION, "x"), Mismatch(GrantReason.HUB, "y" * 2000)]
    )
    assert len(str(refusal)) == MESSAGE_LENGTH
    shown = status_of(json.loads(json.dumps(refusal.status())))
    assert (shown["phase"], sorted(shown["causes"])) == (
        TaskPhase.FAILED,
        ["HubNotGranted", "OperationNotGranted"],
    )
    assert report_of(shown)["causes"] == shown["causes"]


def test_another_refusal_names_no_rule() -> None:
    assert "causes" not in TaskRefusal("ReleaseMissing", "it may still come").status()


def test_a_release_that_may_still_come_leaves_its_task_open_for_a_task_that_is_over_stays_over() -> None:
    assert TaskRefusal("ReleaseMissing", "it may still come").status()["phase"] == "Pending"
    assert TaskRefusal("DataInvalid", "it may be put back").status()["phase"] == "Pending"
    assert TaskRefusal("ReleaseUnverified", "it will not mend").status()["phase"] == "Failed"
