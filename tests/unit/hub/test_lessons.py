"""What other operators learned the hard way, as seen by a process of the hub: over a simulated cluster and exchange.

The twelve lessons are those of `tests/unit/operator/test_lessons_are_named.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.schedules.cluster import ClusterPort
from tests.schedules.faults import Crash, Weather
from tests.schedules.federation import Federation, Shape

from fedgestalt_operator.hub.reconcile import RoundReconciler
from fedgestalt_operator.kube.errors import ClusterUnavailable, Conflict
from fedgestalt_operator.kube.port import Document


class Troubled:
    """A process's view of the cluster; what a test puts in place of a verb is called first."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.instead: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return self.instead.get(name) or getattr(self.cluster, name)


def federation() -> tuple[Federation, Callable[[], Troubled]]:
    """A world, and the view of the hub's process that is alive in it."""
    views: list[Troubled] = []

    def make(cluster: Any, exchange: Any, now: Callable[[], float]) -> RoundReconciler:
        views.append(Troubled(cluster))
        view: Any = views[-1]
        return RoundReconciler(view, exchange, now=now)

    world = Federation(Shape(rounds=1), Weather(random.Random(1)), make=make)
    return world, lambda: views[-1]


def turn(world: Federation, *, jobs: bool = True) -> None:
    for name in world.silos:
        world.act(name)
    if jobs:
        world.jobs.step()
    world.reconcile()
    world.now += 1.0


def until_job(world: Federation) -> None:
    """Up to the moment before the first Job is created: its process has not been let to see that it is wanted."""
    while not world.exchange.said("reveal", 1, "m0", 1, 1):
        turn(world)


def jobs(world: Federation) -> dict[str, str]:
    return {d["metadata"]["name"]: d["metadata"]["uid"] for d in world.cluster.all("Job")}


def cut_off(view: Troubled) -> None:
    """The Job is made, and the answer is lost."""

    def create(document: Mapping[str, Any]) -> Document:
        made: Document = view.cluster.create(document)
        if made["kind"] == "Job":
            raise ClusterUnavailable("the answer was lost")
        return made

    view.instead["create"] = create


def killed(view: Troubled) -> None:
    """The Job is made, and the process dies before anything else."""

    def create(document: Mapping[str, Any]) -> Document:
        made: Document = view.cluster.create(document)
        if made["kind"] == "Job":
            raise Crash
        return made

    view.instead["create"] = create


def refused(view: Troubled) -> None:
    """The Job is made, and the status that would tell of it is refused."""

    def patch_status(kind: str, *rest: Any) -> Document:
        raise Conflict(f"{kind} has changed since it was read")

    view.instead["patch_status"] = patch_status


@pytest.mark.parametrize("trouble", [cut_off, killed, refused])
def test_a_job_whose_creation_could_not_be_written_down_is_found_and_not_made_twice(
    trouble: Callable[[Troubled], None],
) -> None:
    """Lesson 1: the side effect is done, then saving it fails. Names are deterministic, so that it is seen the next time."""
    world, view = federation()
    until_job(world)
    trouble(view())
    while not jobs(world):
        turn(world, jobs=False)
    made = jobs(world)
    world.restart()
    for _ in range(3):
        turn(world, jobs=False)
    assert jobs(world) == made
    assert len(made) == 1
    (wait,) = world.status["waitingFor"]
    assert next(iter(made)) in wait["what"]


def test_a_list_that_does_not_show_a_job_yet_makes_no_second_one() -> None:
    """Lesson 2: a stale cache. What is wanted follows from names, never from how many are seen."""
    world, view = federation()
    until_job(world)
    while not jobs(world):
        turn(world, jobs=False)
    made = jobs(world)
    port: ClusterPort = view().cluster

    def nothing_yet(kind: str, namespace: str, labels: Mapping[str, str] | None = None) -> Any:
        return ([], "0") if kind == "Job" else port.list(kind, namespace, labels)

    view().instead["list"] = nothing_yet
    for _ in range(3):
        turn(world, jobs=False)
    assert jobs(world) == made


def test_a_restart_that_a_list_does_not_show_yet_is_not_counted_anew() -> None:
    """Lesson 2: the Job that failed and its restart are hidden; asking for the first again neither makes nor renames one."""
    world, view = federation()
    until_job(world)
    world.jobs.bad, world.jobs.rng = 1.0, random.Random(0)
    while len(jobs(world)) < 2:
        turn(world)
    made = jobs(world)
    view().instead["list"] = lambda kind, namespace, labels=None: (
        ([], "0") if kind == "Job" else view().cluster.list(kind, namespace, labels)
    )
    for _ in range(3):
        turn(world, jobs=False)
    assert jobs(world) == made


def test_one_silo_that_falls_silent_is_lost_alone_and_comes_back_by_itself_whatever_process_looks() -> None:
    """Lesson 8: loss is per silo and follows from when it was heard, not from what a process remembers."""
    world, _ = federation()
    while not world.exchange.hub("enrolled", 1):
        turn(world)
    lost = "silo-02"

    def connected() -> set[str]:
        return {s["name"] for s in world.status["silos"] if s["connected"]}

    world.away.add(lost)
    for _ in range(8):
        world.now += 20.0
        turn(world)
    turn(world)  # a look that decides something leaves the status to the next one
    assert connected() == set(world.silos) - {lost}
    world.restart()
    turn(world)
    assert connected() == set(world.silos) - {lost}, "a restart in the middle changes nothing"
    world.away.clear()
    turn(world)
    turn(world)
    assert connected() == set(world.silos)
    assert world.exchange.enrolment == 1, "nobody had to begin anew"
