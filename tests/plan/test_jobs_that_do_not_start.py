"""Jobs of the hub whose pods never begin: what is said, what follows, and when it ends."""

from __future__ import annotations

from dataclasses import replace

from fedgestalt_operator.api.round import Deadlines
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan import CreateJob, DeleteJob, JobState, Pending, TaskState, plan
from fedgestalt_operator.plan.deadlines import START_WITHIN

from .simulation import STUCK, World, make_round, reason


def until_job(world: World, word: str) -> str:
    """Turn the clock until a Job of this kind is there; its name."""
    while not (found := [name for name in world.jobs if f"-{word}-" in name]):
        world.tick()
    return found[0]


def stuck(word: str, restarts: range):
    return lambda name: "stuck" if f"-{word}-" in name and int(name[-1]) in restarts else "ok"


def test_a_job_whose_pod_does_not_begin_is_a_wait_that_names_the_pods_reason_and_ends_long_before_the_round():
    """Lesson 5: what never starts needs a clock of its own, and the reason of the child belongs into the parent."""
    world = World(make_round(), job_hook=stuck("kernel", range(1)))
    name = until_job(world, "kernel")
    began = world.now
    for _ in range(5):
        made = world.tick()
    (wait,) = made.status["waitingFor"]
    assert wait["what"] == f"job kernel to start: {STUCK} ({name})"
    assert wait["then"] == "another Job in its place"
    assert made.status["summary"]["waiting"] == f"hub: job kernel to start: {STUCK.partition(':')[0]}"
    world.run()
    assert world.hub("rankings", 1).received - began < START_WITHIN + 60


def test_the_next_job_is_created_before_the_one_that_did_not_start_is_deleted():
    """A hub that dies between the two must still count the restart: the later name is there."""
    world = World(make_round(), job_hook=stuck("kernel", range(1)))
    first = until_job(world, "kernel")
    world.jobs[first] = replace(world.jobs[first], pending=Pending(world.now - START_WITHIN, STUCK))
    actions = plan(world.round, world.observed, world.now).actions
    later = f"{first[:-1]}1"
    assert [(type(a), a.name) for a in actions] == [(CreateJob, later), (DeleteJob, first)]
    world.jobs[later] = JobState(world.jobs[first].phase, started=world.now)
    assert plan(world.round, world.observed, world.now).actions == (DeleteJob(first),)


def test_a_kernel_that_never_starts_fails_the_round_with_the_reason_and_its_four_jobs_had_ever_more_time():
    world = World(make_round(), job_hook=stuck("kernel", range(4)))
    until_job(world, "kernel")
    began = world.now
    status = world.run()
    assert reason(status) == "KernelNotStarted"
    assert world.decisions("failed")[0].body["message"] == f"the kernel Job's last restart never ran: {STUCK}"
    assert world.now - began >= START_WITHIN * (1 + 2 + 4 + 8)
    assert not world.jobs or all(state.pending is None for state in world.jobs.values())


def test_an_aggregation_that_never_starts_is_another_try_with_a_reason_of_its_own():
    world = World(
        make_round(),
        job_hook=lambda name: "stuck" if "-aggregate-m0-1-1-" in name else "ok",
    )
    assert reason(world.run()) == "Released"
    assert [x.body["reason"] for x in world.decisions("retry")] == ["JobNotStarted"]


def test_a_job_that_a_queue_holds_back_has_until_the_active_deadline():
    world = World(make_round())
    name = until_job(world, "kernel")
    world.jobs[name] = replace(
        world.jobs[name], pending=Pending(None, "held back by the queue that admits it")
    )
    made = plan(world.round, world.observed, world.now + 10 * START_WITHIN)
    (wait,) = made.status["waitingFor"]
    assert (wait["then"], made.actions) == ("Failed: DeadlineExceeded", ())
    assert "held back by the queue" in wait["what"]


def test_the_active_deadline_comes_first_where_it_is_nearer():
    world = World(make_round(deadlines=Deadlines(300.0, 120.0)))
    name = until_job(world, "aggregate")
    world.jobs[name] = replace(world.jobs[name], pending=Pending(world.now, STUCK))
    (wait,) = plan(world.round, world.observed, world.now).status["waitingFor"]
    assert wait["then"] == "Failed: DeadlineExceeded"


def test_tasks_that_no_site_ever_begins_end_at_the_active_deadline():
    """A site reports for itself; one that says nothing is waited for, by name, and not for ever."""
    world = World(make_round(deadlines=Deadlines(300.0, 600.0)))
    while world.hub("enrolled", 1) is None:
        world.tick()
    world.hook = lambda silo, kind, member, t, a: "hold"
    status = world.run()
    assert reason(status) == "DeadlineExceeded"
    message = world.decisions("failed")[0].body["message"]
    assert all(silo in message for silo in world.round.silos)
    assert world.now < 1000 + 600 + 120


def test_a_task_that_waits_at_its_site_says_in_the_round_what_for():
    """Lesson 5: the reason of the child belongs into the parent, while it can still be mended."""
    world = World(make_round(), hook=lambda silo, *_: "hold" if silo.name == "silo-03" else "post")
    for _ in range(5):
        world.tick()
    world.tasks["fg-5f0c2d7e-enrol-silo-03-1"] = TaskState(TaskPhase.PENDING, "ReleaseMissing")
    waits = {w["who"]: w["what"] for w in world.tick().status["waitingFor"]}
    assert waits["silo-03"] == "enrol (ReleaseMissing)"
