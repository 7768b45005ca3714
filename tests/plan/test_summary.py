"""The strings of `kubectl get fround`: filled from the first look on, and no wider than a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedgestalt_operator.api.round import Phase

from .simulation import World, make_round


@pytest.mark.parametrize(("silos", "least", "needed"), [(4, 3, "3"), (7, 3, "5"), (7, 6, "6")])
def test_the_number_of_silos_needed_is_shown_while_they_enrol_and_stays_the_same(
    silos: int, least: int, needed: str
) -> None:
    quorum = replace(make_round().quorum, min_silos=least)
    world = World(make_round(silos, quorum=quorum))
    shown = []
    while not shown or shown[-1][0] in (Phase.PENDING, Phase.ENROLLING):
        status = world.tick().status
        if status["roster"]:
            shown.append((status["phase"], status["summary"]["need"]))
    assert len({phase for phase, _ in shown}) >= 2
    assert {need for _, need in shown} == {needed}


def test_a_job_is_shown_without_its_name_which_the_wait_has() -> None:
    world = World(make_round(), job_hook=lambda name: "hang")
    while not (waits := [w for w in world.tick().status["waitingFor"] if w["what"].startswith("job ")]):
        pass
    assert "(fg-5f0c2d7e-" in waits[0]["what"]
    assert world.tick().status["summary"]["waiting"] == "hub: job aggregate"


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("upload r50 t=3 (LinkLost)", "upload r50 t=3 (LinkLost)"),
        (
            "job kernel to start: Unschedulable: 0/3 nodes are available (fg-1-kernel-1-0)",
            "job kernel to start: Unschedulable",
        ),
        (f"have release sha256:{'a' * 64}", f"have release sha256:{'a' * 17}..."),
    ],
)
def test_details_that_do_not_fit_are_left_to_the_wait(what: str, shown: str) -> None:
    from fedgestalt_operator.plan.summary import WIDTH, shortened

    assert shortened(what) == shown
    assert len(shown) <= WIDTH
