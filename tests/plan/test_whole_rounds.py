"""Whole rounds, undisturbed and disturbed, planned against a simulated board."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .simulation import DIE_AFTER, DIE_BEFORE, HOLD, INCOMPLETE, POST, World, make_round, reason


def test_undisturbed_round_is_released_with_every_silo():
    world = World(make_round(members=2, rounds=3))
    status = world.run()
    assert status["phase"] == "Succeeded"
    assert reason(status) == "Released"
    advances = [(x.member, x.t) for x in world.decisions("advance")]
    assert advances == [("m0", 1), ("m0", 2), ("m0", 3), ("m1", 1), ("m1", 2), ("m1", 3), ("evaluation", 1)]
    assert world.decisions("released")[0].body["signers"] == list(world.round.silos)
    assert not world.decisions("retry")
    assert not world.decisions("void")


def test_masked_blobs_are_all_dropped_in_the_end():
    world = World(make_round())
    world.run()
    masked = {x.body["digest"].hex() for x in world.entries if x.kind == "masked"}
    assert world.dropped == masked
    assert len(masked) == 4 * 3


def test_frozen_ensemble_goes_from_enrolment_to_encoding():
    world = World(make_round(members=0))
    assert world.run()["phase"] == "Succeeded"
    assert not world.decisions("aggregate") or {x.member for x in world.decisions("aggregate")} == {
        "evaluation"
    }


def test_rehearsal_stops_after_enrolling():
    world = World(make_round(stop_after="Enrolling"))
    status = world.run()
    assert reason(status) == "Rehearsed"
    assert not any("train" in name for name in world.tasks)


TRAINING = ("keys", "shares", "masked", "accept", "reveal", "model")
LATER = ("rows", "score", "sign")


@pytest.mark.parametrize("fate", [DIE_BEFORE, DIE_AFTER])
@pytest.mark.parametrize("kind", TRAINING)
@pytest.mark.parametrize("member", ["m0", "evaluation"])
def test_one_of_four_lost_in_an_aggregation_leaves_the_others_a_release(kind, member, fate):
    def hook(silo, k, m, t, a):
        return fate if (silo.name, k, m, t) == ("silo-02", kind, member, 1) else POST

    world = World(make_round(), hook=hook)
    status = world.run()
    assert reason(status) == "Released"
    assert world.decisions("released")[0].body["signers"] == ["silo-00", "silo-01", "silo-03"]


@pytest.mark.parametrize("fate", [DIE_BEFORE, DIE_AFTER])
@pytest.mark.parametrize("kind", LATER)
def test_one_of_four_lost_after_training_leaves_the_others_a_release(kind, fate):
    def hook(silo, k, m, t, a):
        return fate if (silo.name, k) == ("silo-02", kind) else POST

    assert reason(World(make_round(), hook=hook).run()) == "Released"


@pytest.mark.parametrize("fate", [DIE_BEFORE, DIE_AFTER])
@pytest.mark.parametrize("kind", ["endorse", "opening", "confirm"])
def test_loss_during_enrolment_voids_it_and_a_fresh_one_goes_on(kind, fate):
    def hook(silo, k, m, t, a):
        return fate if (silo.name, k) == ("silo-02", kind) and world.enrolment == 1 else POST

    world = World(make_round(), hook=hook)
    status = world.run()
    assert reason(status) == "Released"
    if (kind, fate) == ("confirm", DIE_AFTER):  # the last word was said: nothing is lost yet
        assert not world.decisions("void")
    else:
        assert [x.body["lost"] for x in world.decisions("void")] == [["silo-02"]]
        assert world.roster(2) == ["silo-00", "silo-01", "silo-03"]


def test_two_of_four_lost_ends_the_round_at_the_active_deadline():
    def hook(silo, k, m, t, a):
        return DIE_BEFORE if k == "masked" and silo.name in ("silo-01", "silo-02") else POST

    world = World(make_round(), hook=hook)
    status = world.run()
    assert reason(status) == "DeadlineExceeded"
    assert "silo-01: keys m0 t=1 (LinkLost)" in world.decisions("failed")[0].body["message"]


def test_lost_silo_that_returns_takes_part_in_the_next_t():
    def hook(silo, k, m, t, a):
        return DIE_BEFORE if (silo.name, k, m, t, a) == ("silo-02", "masked", "m0", 1, 1) else POST

    world = World(make_round(rounds=3), hook=hook)
    while not world.decisions("advance"):
        world.tick()
    world.hook = lambda *_: POST
    world.agents["silo-02"].alive = True
    assert reason(world.run()) == "Released"
    sets = {x.t: x.body["silos"] for x in world.decisions("survivors") if x.member == "m0"}
    assert sets[1] == ["silo-00", "silo-01", "silo-03"]
    assert sets[3] == list(world.round.silos)


def test_straggler_is_left_out_after_its_timeout_though_it_is_alive():
    def hook(silo, k, m, t, a):
        return HOLD if (silo.name, k, m, t) == ("silo-03", "masked", "m0", 1) else POST

    world = World(make_round(), hook=hook)
    status = world.run()
    assert reason(status) == "Released"
    first = next(x.received for x in world.entries if x.kind == "masked")
    decided = next(x for x in world.decisions("survivors") if x.t == 1 and x.member == "m0")
    assert 60 <= decided.received - first <= 62
    assert decided.body["silos"] == ["silo-00", "silo-01", "silo-02"]


def test_upload_whose_blob_is_incomplete_does_not_count():
    def hook(silo, k, m, t, a):
        return INCOMPLETE if (silo.name, k, m, t) == ("silo-03", "masked", "m0", 1) else POST

    world = World(make_round(), hook=hook)
    world.run()
    assert world.decisions("survivors")[0].body["silos"] == ["silo-00", "silo-01", "silo-02"]


def test_burnt_survivor_set_is_had_again_whole_or_not_at_all():
    """Reveals fail once: the next try has the same survivors and succeeds."""

    def hook(silo, k, m, t, a):
        return HOLD if (k, m, t, a) == ("reveal", "m0", 1, 1) and silo.name > "silo-01" else POST

    world = World(make_round(), hook=hook)
    assert reason(world.run()) == "Released"
    assert [x.body["reason"] for x in world.decisions("retry")] == ["TooFewReveals"]
    assert len([x for x in world.decisions("survivors") if x.t == 1 and x.member == "m0"]) == 2


def test_burnt_survivor_set_that_cannot_be_reached_again_skips_the_t():
    """After S of four, two fall silent before revealing and one comes back: four are never whole again."""

    def hook(silo, k, m, t, a):
        if t == 1 and k == "reveal" and m == "m0" and silo.name in ("silo-02", "silo-03"):
            return DIE_BEFORE
        return POST

    world = World(make_round(), hook=hook)
    while not world.decisions("survivors"):
        world.tick()
    for _ in range(100):
        world.tick()
    world.hook = lambda *_: POST
    world.agents["silo-02"].alive = True
    world.agents["silo-02"].recorded.clear()
    # silo-02 has lost what it needs for this try and holds its reveal back for ever.
    world.hook = lambda silo, k, m, t, a: (
        HOLD if (silo.name, k, m, t) == ("silo-02", "reveal", "m0", 1) else POST
    )
    status = world.run()
    assert [(x.member, x.t) for x in world.decisions("skip")] == [("m0", 1)]
    assert status["members"][0]["skipped"] == [1]
    assert reason(status) == "Released"


def test_bound_exceeded_gives_all_a_new_try_with_a_wider_bound_once():
    def hook(silo, k, m, t, a):
        return "BoundExceeded" if (silo.name, k, m, t, a) == ("silo-01", "masked", "m0", 1, 1) else POST

    world = World(make_round(), hook=hook)
    assert reason(world.run()) == "Released"
    assert [(x.t, x.attempt, x.body["scale"]) for x in world.decisions("retry")] == [(1, 1, 16)]


def test_altered_sum_that_silos_refuse_is_tried_again():
    def hook(silo, k, m, t, a):
        return "CheckFailed" if (k, m, t, a) == ("model", "m0", 2, 1) else POST

    world = World(make_round(), hook=hook)
    assert reason(world.run()) == "Released"
    assert [(x.t, x.body["reason"]) for x in world.decisions("retry")] == [(2, "CheckFailed")]


def test_failed_job_is_restarted_under_the_next_name_and_then_the_try_is_repeated():
    world = World(make_round(), job_hook=lambda name: "fail" if "-m0-1-1-" in name else "ok")
    assert reason(world.run()) == "Released"
    assert {n for n in world.ever_created if "-m0-1-1-" in n} == {
        f"fg-5f0c2d7e-aggregate-m0-1-1-1-{r}" for r in range(4)
    }
    assert [x.body["reason"] for x in world.decisions("retry")] == ["JobFailed"]


def test_kernel_that_always_fails_ends_the_round_with_its_reason():
    world = World(make_round(), job_hook=lambda name: "fail" if "kernel" in name else "ok")
    assert reason(world.run()) == "KernelFailed"


def test_silo_whose_rows_the_kernel_refuses_is_named_and_the_others_are_released():
    world = World(make_round(), rows_refused={"silo-00": "this is not a flake-rows/v1 blob"})
    status = world.run()
    assert reason(status) == "Released"
    (ranked,) = world.decisions("rankings")
    assert sorted(ranked.body["owners"]) == ["silo-01", "silo-02", "silo-03"]
    assert {s["name"]: s.get("fault") for s in status["silos"] if "fault" in s} == {"silo-00": "RowsRefused"}
    assert len([name for name in world.ever_created if "kernel" in name]) == 1, (
        "another run would say the same"
    )


def test_kernel_that_can_compare_too_few_silos_ends_the_round_and_names_the_others():
    refused = {"silo-00": "width 8, most have width 4", "silo-02": "gallery row 0 is not of length one"}
    world = World(make_round(), rows_refused=refused)
    status = world.run()
    assert reason(status) == "KernelFailed"
    message = status["conditions"][0]["message"]
    assert message.endswith(
        "refused: silo-00 (width 8, most have width 4), silo-02 (gallery row 0 is not of length one)"
    )
    assert len([name for name in world.ever_created if "kernel" in name]) == 1


def test_kernel_that_says_nothing_of_a_silo_has_failed():
    world = World(make_round(), rows_refused={"silo-09": "never asked"})
    assert reason(world.run()) == "KernelFailed"


def test_job_that_hangs_is_deleted_when_the_round_ends():
    world = World(make_round(), job_hook=lambda name: "hang" if "kernel" in name else "ok")
    assert reason(world.run()) == "DeadlineExceeded"
    assert not [n for n, s in world.jobs.items() if s.phase == "Running"]


def test_diverged_models_end_the_round_and_a_differing_minority_is_named():
    def hook(silo, k, m, t, a):
        if (k, m, t) == ("model", "m0", 1) and silo.name == "silo-03":
            if silo.name not in world.said(k, 1, m, t, a):
                world.append(silo.name, k, 1, m, t, a, {"hash": b"other"})
            return HOLD
        return POST

    world = World(make_round(rounds=1), hook=hook)
    status = world.run()
    assert reason(status) == "Released"
    # It may have come after three equal ones; then it is named all the same.
    assert {s["name"]: s.get("differs") for s in status["silos"]}["silo-03"] == "model m0 t=1"


def test_revoked_silo_is_not_waited_for():
    def hook(silo, k, m, t, a):
        return HOLD if (silo.name, k) == ("silo-03", "masked") and t == 1 else POST

    world = World(make_round(), hook=hook)
    while not any(x.kind == "masked" for x in world.entries):
        world.tick()
    world.tick()
    before = world.now
    world.silos["silo-03"] = replace(world.silos["silo-03"], accepted=False)
    world.tick()
    decided = world.decisions("survivors")[0]
    assert decided.received <= before + 1
    assert decided.body["silos"] == ["silo-00", "silo-01", "silo-02"]


@pytest.mark.parametrize("n", [3, 5, 7, 16])
def test_other_sizes_of_federations_reach_a_release(n):
    assert reason(World(make_round(n, rounds=1)).run()) == "Released"
