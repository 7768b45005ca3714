"""A round whose resource is gone: what its board still has to say."""

from __future__ import annotations

from dataclasses import replace

from fedgestalt.secagg.kinds import Kind as SecaggKind
from fedgestalt.secagg.schemas import check_body
from fedgestalt_operator.plan.deleted import LastWord, end_of_deleted

from .simulation import World, make_round


def trained(world: World) -> World:
    while not world.decisions("survivors"):
        world.tick()
    return world


def masked(world: World) -> tuple[str, ...]:
    return tuple(sorted(x.body["digest"].hex() for x in world.entries if x.kind == "masked"))


def test_a_running_round_ends_with_a_failure_in_the_enrolment_that_stands_and_its_updates_go() -> None:
    world = trained(World(make_round()))
    last = end_of_deleted(world.entries)
    assert last.decision is not None
    assert last.decision.slot == (1, "", 0, 0, "failed")
    assert last.decision.body["reason"] == "Deleted"
    check_body(SecaggKind.FAILED, dict(last.decision.body))
    assert last.unwanted == masked(world) != ()


def test_the_failure_stands_in_the_enrolment_that_is_open() -> None:
    def hook(silo, kind, *_):
        return "RosterUnknown" if kind == "endorse" and world.enrolment == 1 else "post"

    world = World(make_round(), hook=hook)
    while world.enrolment == 1:
        world.tick()
    last = end_of_deleted(world.entries)
    assert last.decision is not None
    assert last.decision.enrolment == 2


def test_asked_again_after_it_was_done_it_decides_nothing_and_names_the_same_blobs() -> None:
    world = trained(World(make_round()))
    decided = end_of_deleted(world.entries).decision
    assert decided is not None
    world.append("hub", "failed", *decided.slot[:4], dict(decided.body))
    assert end_of_deleted(world.entries) == LastWord(None, masked(world))


def test_rows_of_a_round_that_was_not_released_go_too() -> None:
    world = World(make_round())
    while not world.decisions("rows-closed"):
        world.tick()
    rows = {x.body["digest"].hex() for x in world.entries if x.kind == "rows"}
    assert rows
    assert rows <= set(end_of_deleted(world.entries).unwanted)


def test_a_round_that_is_released_names_what_must_be_published_and_keeps_its_rows_for_that() -> None:
    world = World(make_round())
    world.run()
    last = end_of_deleted(world.entries)
    assert last.decision is None
    assert last.release == world.decisions("released")[0].body["digest"].hex()
    assert last.unwanted == masked(world)
    assert set(last.rows) == {x.body["digest"].hex() for x in world.entries if x.kind == "rows"} != set()


def test_a_round_that_nobody_was_told_of_needs_none_either() -> None:
    assert end_of_deleted(()) == LastWord()


def test_a_rehearsal_whose_silos_wait_for_more_gets_its_end() -> None:
    world = World(replace(make_round(), stop_after="Enrolling"))
    world.run()
    decision = end_of_deleted(world.entries).decision
    assert decision is not None
    assert decision.kind == "failed"
