"""Deadlines, suspension, silence and status: what time does to a round."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedgestalt_operator.api.round import Deadlines
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan import TaskState, plan
from fedgestalt_operator.plan.deadlines import Clock

from .simulation import HOLD, POST, World, make_round, reason


def hold(*kinds: str, silo: str = "silo-03", t: int | None = None):
    return lambda s, k, m, at, a: HOLD if s.name == silo and k in kinds and (t is None or t == at) else POST


def tick_until(world: World, condition, most: int = 2000) -> None:
    for _ in range(most):
        if condition():
            return
        world.tick()
    raise AssertionError("it did not come to that")


def test_unregistered_silo_fails_the_round_at_the_start_deadline():
    world = World(make_round())
    del world.silos["silo-02"], world.agents["silo-02"]
    status = world.run()
    assert reason(status) == "SilosNotAccepted"
    assert "silo-02" in world.decisions("failed")[0].body["message"]
    assert 1300 <= world.decisions("failed")[0].received <= 1330


def test_roster_closes_at_the_start_deadline_with_enough():
    world = World(make_round(), hook=hold("enrol"))
    assert reason(world.run()) == "Released"
    roster = world.decisions("roster")[0]
    assert roster.body["silos"] == ["silo-00", "silo-01", "silo-02"]
    assert 1300 <= roster.received <= 1330


def test_too_few_enrolled_at_the_start_deadline_fails_and_names_them():
    world = World(make_round(), hook=lambda s, *_: "GrantMismatch" if s.name > "silo-01" else POST)
    status = world.run()
    assert reason(status) == "QuorumNotReached"
    assert "silo-02 (GrantMismatch)" in world.decisions("failed")[0].body["message"]


def test_silo_that_undoes_two_enrolments_is_left_out_of_the_third():
    def hook(silo, kind, *_):
        return "RosterUnknown" if (silo.name, kind) == ("silo-03", "endorse") else POST

    world = World(make_round(), hook=hook)
    assert reason(world.run()) == "Released"
    assert [x.body["reason"] for x in world.decisions("void")] == ["RosterUnknown"] * 2
    assert world.roster(3) == ["silo-00", "silo-01", "silo-02"]


def test_enrolments_end_after_five_attempts_when_too_few_get_through():
    def hook(silo, kind, *_):
        return "RosterUnknown" if silo.name > "silo-01" and kind == "endorse" else POST

    world = World(make_round(), hook=hook)
    assert reason(world.run()) == "EnrolmentFailed"
    assert len(world.decisions("void")) == 5
    assert not world.decisions("enrolled")


def test_endorsements_that_differ_void_the_enrolment():
    world = World(make_round())

    def hook(silo, kind, *_):
        if (silo.name, kind) == ("silo-03", "endorse") and world.enrolment == 1:
            if silo.name not in world.said("endorse", 1):
                world.append(silo.name, "endorse", 1, "", 0, 0, {"h": b"other"})
            return HOLD
        return POST

    world.hook = hook
    assert reason(world.run()) == "Released"
    assert [x.body["reason"] for x in world.decisions("void")] == ["EndorsementMismatch"]


def test_extending_a_deadline_saves_the_round():
    world = World(make_round(), hook=hold("enrol"))
    tick_until(world, lambda: world.now >= 1250)
    world.round = replace(world.round, deadlines=Deadlines(900.0, 20_000.0))
    tick_until(world, lambda: world.now >= 1500)
    assert not world.decisions("roster")
    world.hook = lambda *_: POST
    world.run()
    assert len(world.decisions("roster")[0].body["silos"]) == 4


def test_suspended_round_finishes_what_is_in_flight_and_rests_before_the_next_t():
    world = World(make_round(rounds=3))
    tick_until(world, lambda: world.decisions("keyset"))
    world.round = replace(world.round, suspend=True)
    for _ in range(300):
        made = world.tick()
    assert [x.t for x in world.decisions("advance")] == [1]
    assert len(world.decisions("keyset")) == 1
    assert [w["who"] for w in made.status["waitingFor"]] == ["coordinator"]
    condition = next(c for c in made.status["conditions"] if c["type"] == "Suspended")
    assert (condition["status"], condition["reason"]) == ("True", "Requested")
    world.round = replace(world.round, suspend=False)
    status = world.run()
    assert reason(status) == "Released"
    assert [x.member for x in world.decisions("stage")][:2] == ["Suspended", "Resumed"]


def test_suspension_stops_the_active_deadline():
    world = World(make_round(rounds=3, deadlines=Deadlines(300.0, 500.0)))
    tick_until(world, lambda: world.decisions("keyset"))
    world.round = replace(world.round, suspend=True)
    for _ in range(2000):
        world.tick()
    assert not world.decisions("failed")
    world.round = replace(world.round, suspend=False)
    assert reason(world.run()) == "Released"


def test_suspension_stops_the_start_deadline():
    world = World(make_round(), hook=hold("enrol"))
    tick_until(world, lambda: world.decisions("computation"))
    world.round = replace(world.round, suspend=True)
    for _ in range(1000):
        world.tick()
    world.round = replace(world.round, suspend=False)
    for _ in range(200):
        world.tick()
    assert not world.decisions("roster")
    world.hook = lambda *_: POST
    assert reason(world.run()) == "Released"


def test_suspending_before_acceptance_holds_the_round_without_a_message():
    world = World(make_round(suspend=True))
    for _ in range(1000):
        world.tick()
    assert world.entries == []
    world.round = replace(world.round, suspend=False)
    assert reason(world.run()) == "Released"


def test_clock_leaves_suspensions_out():
    clock = Clock(100.0, ((10.0, 20.0), (50.0, None)))
    assert clock.paused(0.0) == 60.0
    assert clock.paused(15.0) == 55.0
    assert clock.until(0.0, 30.0) == 90.0
    assert clock.suspended
    assert not clock.due(0.0, 1.0)
    assert Clock(100.0, ((10.0, 20.0),)).due(0.0, 90.0)


def test_silent_silo_is_waited_for_90_seconds_and_no_longer():
    world = World(make_round(quorum=replace(make_round().quorum, straggler_timeout=5000.0)))
    tick_until(world, lambda: world.decisions("senders"))
    world.agents["silo-03"].alive = False
    silent = world.now - 1
    assert reason(world.run()) == "Released"
    decided = world.decisions("survivors")[0].received
    assert 90 <= decided - silent <= 95


def test_silo_whose_task_failed_is_not_waited_for():
    world = World(make_round(), hook=hold("keys"))
    tick_until(world, lambda: len(world.said("keys", 1, "m0", 1, 1)) == 3)
    name = "fg-5f0c2d7e-train-silo-03-1"
    world.tasks[name] = TaskState(TaskPhase.FAILED, "TrainerFailed")
    world.tick()
    assert world.decisions("keyset")[0].body["silos"] == ["silo-00", "silo-01", "silo-02"]


def test_wait_names_silo_step_deadline_and_consequence():
    world = World(make_round(), hook=hold("masked"))
    tick_until(world, lambda: len(world.said("masked", 1, "m0", 1, 1)) == 3)
    status = world.tick().status
    wait = status["waitingFor"][0]
    assert (wait["who"], wait["what"], wait["then"]) == ("silo-03", "upload m0 t=1", "go on without it")
    assert status["summary"]["waiting"] == "silo-03: upload m0 t=1"
    assert status["summary"]["progress"] == "m0 0/2"
    assert status["summary"]["silos"] == "4/4"
    assert status["summary"]["need"] == "3"
    assert status["summary"]["until"].endswith("Z")


def test_fault_that_lasts_takes_a_silo_out_until_it_speaks_again():
    def hook(silo, kind, member, t, a):
        return "TrainerFailed" if (silo.name, kind, t) == ("silo-03", "masked", 1) else POST

    world = World(make_round(rounds=2), hook=hook)
    status = world.run()
    assert reason(status) == "Released"
    assert world.decisions("survivors")[0].body["silos"] == ["silo-00", "silo-01", "silo-02"]
    assert next(s for s in status["silos"] if s["name"] == "silo-03")["fault"] == "TrainerFailed"


def test_status_deleted_comes_back_from_the_board():
    world = World(make_round())
    shown = world.run()
    assert plan(world.round, world.observed, world.now).status == shown
    assert (
        plan(world.round, replace(world.observed, tasks={}, jobs={}), world.now).status["phase"]
        == "Succeeded"
    )


def test_round_is_deleted_once_its_ttl_has_passed():
    world = World(make_round(ttl_after_finished=100.0))
    world.run()
    made = plan(world.round, world.observed, world.now)
    assert made.requeue_after is not None
    assert 0 < made.requeue_after <= 100
    world.now += 101
    world.settle()
    assert world.deleted


def test_nothing_is_asked_of_silos_after_the_end():
    world = World(make_round())
    world.run()
    world.tasks.clear()
    assert plan(world.round, world.observed, world.now).actions == ()


@pytest.mark.parametrize("generation", [1, 7])
def test_conditions_carry_the_generation_they_saw(generation):
    world = World(make_round(metadata=replace(make_round().metadata, generation=generation)))
    status = world.run()
    assert {c["observedGeneration"] for c in status["conditions"]} == {generation}


def test_status_does_not_change_while_nothing_happens():
    world = World(make_round(), hook=hold("masked", "keys", "accept", "model", "rows", "sign"))
    quiet = 0
    while world.now < 4000 and not world.decisions("released"):
        made = world.tick()
        if len(world.entries) == 0 or world.entries[-1].received < world.now - 5:
            later = plan(world.round, world.observed, world.now + 0.5)
            if not later.decisions:
                assert later.status == plan(world.round, world.observed, world.now).status
                quiet += 1
    assert made.status["phase"] in ("Releasing", "Succeeded")
    assert quiet > 50


def test_silo_that_fails_for_good_leaves_no_quorum_and_ends_the_round_at_once():
    def hook(silo, kind, member, t, a):
        return "DataInvalid" if silo.name > "silo-01" and kind == "keys" else POST

    world = World(make_round(), hook=hook)
    status = world.run()
    assert reason(status) == "QuorumLost"
    message = world.decisions("failed")[0].body["message"]
    assert "silo-02 (DataInvalid), silo-03 (DataInvalid)" in message
    assert world.now < 1100


def test_failed_tasks_that_leave_no_quorum_end_the_round_without_a_fault_on_the_board():
    world = World(make_round(), hook=lambda s, k, *_: HOLD if s.name > "silo-01" and k == "keys" else POST)
    tick_until(world, lambda: len(world.said("keys", 1, "m0", 1, 1)) == 2)
    for silo in ("silo-02", "silo-03"):
        world.tasks[f"fg-5f0c2d7e-train-{silo}-1"] = TaskState(TaskPhase.FAILED, "OutOfMemory")
    assert reason(world.run()) == "QuorumLost"
    assert "silo-02 (OutOfMemory)" in world.decisions("failed")[0].body["message"]


def test_lost_spool_of_a_needed_silo_gives_all_a_new_try():
    def hook(silo, kind, member, t, a):
        return (
            "SpoolLost" if (silo.name, kind, t, a) == ("silo-01", "masked", 1, 1) and member == "m0" else POST
        )

    world = World(make_round(3), hook=hook)
    assert reason(world.run()) == "Released"
    assert [(x.t, x.attempt) for x in world.decisions("retry")] == [(1, 1)]
    assert world.now < 1200
