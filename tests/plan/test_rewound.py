"""A board that was set back: a fresh enrolment if too many silos refuse it, and if nothing has left under an epoch's key."""

from __future__ import annotations

from typing import Any

from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan.types import TaskState

from .simulation import World, make_round, reason


def refuse(w: World, *silos: str) -> None:
    for name in silos:
        w.append(name, "fault", w.enrolment, "", 0, 0, {"reason": "BoardRewound", "detail": ""})


def training(w: World, kind: str = "masked") -> None:
    """Until the first communication round is under way."""
    while not [e for e in w.entries if e.kind == kind]:
        w.tick()


def test_so_many_refusals_that_the_quorum_is_lost_begin_a_fresh_enrolment() -> None:
    w = World(make_round(4))
    training(w)
    masked = {e.body["digest"].hex() for e in w.entries if e.kind == "masked"}
    refuse(w, "silo-00", "silo-01")
    w.settle()
    (void,) = w.decisions("void")
    assert void.body == {"reason": "BoardRewound", "lost": []}
    assert w.enrolment == 2
    assert masked <= w.dropped, "nobody needs the vectors of an enrolment that is void"
    assert w.last is not None
    assert w.last.status["phase"] == "Enrolling"
    assert {t for t in w.tasks if t.endswith("-2") or "-2-" in t}, "tasks of the second attempt"
    assert reason(w.run()) == "Released"
    assert {e.enrolment for e in w.entries if e.kind == "masked" and e.t == 1} == {1, 2}


def test_an_agent_that_had_nothing_to_sign_with_is_believed_by_its_task() -> None:
    w = World(make_round(4))
    training(w)
    for name in [n for n in w.tasks if "train" in n and ("silo-00" in n or "silo-01" in n)]:
        w.tasks[name] = TaskState(TaskPhase.FAILED, "BoardRewound")
    w.settle()
    assert [v.body["reason"] for v in w.decisions("void")] == ["BoardRewound"]


def test_one_silo_that_refuses_is_left_behind_as_any_other_that_is_lost() -> None:
    w = World(make_round(4))
    training(w)
    refuse(w, "silo-00")
    w.agents["silo-00"].alive = False
    assert reason(w.run()) == "Released"
    assert not w.decisions("void")


def test_a_round_that_too_many_left_for_other_reasons_is_not_begun_afresh() -> None:
    w = World(make_round(4))
    training(w)
    for name, why in (("silo-00", "BoardRewound"), ("silo-01", "TrainerFailed"), ("silo-02", "DataInvalid")):
        w.append(name, "fault", w.enrolment, "", 0, 0, {"reason": why, "detail": ""})
    assert reason(w.run()) == "QuorumLost"
    assert not w.decisions("void")


def test_once_rows_have_left_the_round_fails() -> None:
    w = World(make_round(4))
    training(w, "rows")
    refuse(w, "silo-00", "silo-01")
    for name in ("silo-00", "silo-01"):
        w.agents[name].alive = False
    assert reason(w.run()) == "QuorumLost"


def test_a_board_that_is_set_back_again_and_again_ends_the_round() -> None:
    w = World(make_round(4))
    status: dict[str, Any] = {}
    for _ in range(6):
        while w.enrolment <= 5 and not any(
            e.kind == "masked" and e.enrolment == w.enrolment for e in w.entries
        ):
            status = dict(w.tick().status)
            if status["phase"] == "Failed":
                break
        if w.enrolment > 5:
            break
        refuse(w, "silo-00", "silo-01")
        w.settle()
    status = w.run()
    assert reason(status) == "EnrolmentFailed"
    assert "BoardRewound" in status["conditions"][0]["message"]
