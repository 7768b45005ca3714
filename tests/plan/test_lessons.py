"""What other operators learned the hard way, as far as it is the planner's to keep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedgestalt_operator.plan import CreateJob, JobPhase, plan

from .simulation import World, digest, make_round, reason


def test_a_restart_has_a_later_number_and_begins_when_the_one_before_has_ended():
    """Lesson 3: attempts that overlap. Numbers only grow, and one Job of a question runs at a time."""
    world = World(make_round(), job_hook=lambda name: "fail" if name.endswith(("-0", "-1")) else "ok")
    running: list[tuple[str, set[str]]] = []
    over = False
    while not over:
        before = set(world.ever_created)
        over = world.tick().status["phase"] == "Succeeded"
        for name in world.ever_created - before:
            question = name.rsplit("-", 1)[0]
            others = {n for n in world.jobs if n.startswith(f"{question}-")} - {name}
            running.append((name, {n for n in others if world.jobs[n].phase is JobPhase.RUNNING}))
    assert all(not beside for _, beside in running)
    kernels = [name for name, _ in running if "-kernel-" in name]
    assert [name[-1] for name in kernels] == ["0", "1", "2"]


def test_what_an_earlier_attempt_still_says_counts_for_nothing():
    """Lesson 3: the attempt is a fence. A message of a void enrolment changes no decision of the one that stands."""

    def hook(silo, kind, *_):
        return (
            "RosterUnknown"
            if (silo.name, kind) == ("silo-03", "endorse") and world.enrolment == 1
            else "post"
        )

    world = World(make_round(), hook=hook)
    while world.hub("enrolled", 2) is None:
        world.tick()
    before = plan(world.round, world.observed, world.now)
    world.append("silo-00", "masked", 1, "m0", 1, 1, {"digest": digest("old"), "length": 4})
    after = plan(world.round, world.observed, world.now)
    assert (after.decisions, after.actions) == (before.decisions, before.actions)
    assert reason(world.run()) == "Released"
    assert {x.enrolment for x in world.decisions("survivors")} == {2}


@pytest.mark.parametrize("claim", ["another result", "failed", "runs", "gone"])
def test_what_stands_on_the_board_is_true_whatever_its_job_shows_afterwards(claim: str):
    """Lesson 6: two sources of truth. A Job's outcome counts once, when it is decided; then the board is the one authority."""
    world = World(make_round())
    while not world.decisions("aggregate"):
        world.tick()
    (name,) = [n for n in world.jobs if "-aggregate-m0-1-1-" in n]
    state = world.jobs[name]
    world.jobs[name] = {
        "another result": replace(state, result={"digest": digest("another").hex()}),
        "failed": replace(state, phase=JobPhase.FAILED, result={}),
        "runs": replace(state, phase=JobPhase.RUNNING),
        "gone": state,
    }[claim]
    if claim == "gone":
        del world.jobs[name]
    made = plan(world.round, world.observed, world.now)
    assert not [d for d in made.decisions if d.kind in ("aggregate", "retry")]
    assert not [a for a in made.actions if isinstance(a, CreateJob)]
    assert reason(world.run()) == "Released"
    assert len([x for x in world.decisions("aggregate") if (x.member, x.t) == ("m0", 1)]) == 1


def test_a_job_that_says_it_is_complete_and_left_nothing_readable_has_failed():
    """Lesson 6: falsely well. What counts is the result, and a Job without one is restarted and ends."""
    world = World(make_round())
    while not (found := [n for n in world.jobs if "-kernel-" in n]):
        world.tick()
    world.jobs[found[0]] = replace(world.jobs[found[0]], phase=JobPhase.SUCCEEDED, result={})
    made = plan(world.round, world.observed, world.now)
    assert [a.name[-1] for a in made.actions if isinstance(a, CreateJob)] == ["1"]
