"""Tries of one aggregation: what ends them, how many there are, and what a sum needs."""

from __future__ import annotations

from .simulation import HOLD, POST, World, make_round, reason


def test_tries_end_after_five_when_no_survivor_set_is_pinned():
    def hook(silo, kind, member, t, a):
        return HOLD if kind == "shares" and silo.name > "silo-01" else POST

    world = World(make_round(), hook=hook)
    assert reason(world.run()) == "TriesExhausted"
    assert [x.body["reason"] for x in world.decisions("retry")] == ["TooFewShares"] * 4
    assert "5 tries failed" in world.decisions("failed")[0].body["message"]


def test_tries_end_in_a_skip_when_the_survivor_set_is_pinned():
    def hook(silo, kind, member, t, a):
        return HOLD if (kind, member, t) == ("reveal", "m0", 1) and silo.name > "silo-01" else POST

    world = World(make_round(), hook=hook)
    assert reason(world.run()) == "Released"
    assert [x.body["reason"] for x in world.decisions("retry")] == ["TooFewReveals"] * 4
    assert [(x.t, x.attempt) for x in world.decisions("skip")] == [(1, 5)]


def test_silo_that_gives_up_a_try_is_not_waited_for_in_it():
    def hook(silo, kind, member, t, a):
        return "SpoolLost" if (silo.name, kind, member, t) == ("silo-03", "masked", "m0", 1) else POST

    world = World(make_round(), hook=hook)
    assert reason(world.run()) == "Released"
    assert world.decisions("survivors")[0].body["silos"] == ["silo-00", "silo-01", "silo-02"]
    assert world.now < 1100, "the straggler timeout was waited out for nothing"


def test_bound_is_widened_once_and_then_the_silo_is_left_out():
    def hook(silo, kind, member, t, a):
        return "BoundExceeded" if (silo.name, kind, member, t) == ("silo-03", "masked", "m0", 1) else POST

    world = World(make_round(), hook=hook)
    assert reason(world.run()) == "Released"
    assert [(x.body["reason"], x.body["scale"]) for x in world.decisions("retry")] == [("BoundExceeded", 16)]
    assert world.decisions("survivors")[0].body["silos"] == ["silo-00", "silo-01", "silo-02"]


def test_sum_with_a_dropped_sender_needs_the_pair_seeds_of_all_survivors():
    def hook(silo, kind, member, t, a):
        if (member, t, a) != ("m0", 1, 1):
            return POST
        if (silo.name, kind) == ("silo-06", "masked"):
            return "SpoolLost"
        return HOLD if (silo.name, kind) == ("silo-05", "reveal") else POST

    world = World(make_round(7), hook=hook)
    assert reason(world.run()) == "Released"
    assert world.decisions("survivors")[0].body["silos"] == list(world.round.silos[:6])
    assert not [name for name in world.ever_created if "-m0-1-1-" in name], (
        "five of six reveals do not suffice"
    )
    assert world.decisions("retry")[0].body["reason"] == "TooFewReveals"


def test_sum_without_dropped_senders_needs_tau_reveals_only():
    def hook(silo, kind, member, t, a):
        return HOLD if (silo.name, kind, member, t) == ("silo-06", "reveal", "m0", 1) else POST

    world = World(make_round(7), hook=hook)
    assert reason(world.run()) == "Released"
    assert not world.decisions("retry")


def test_advance_needs_tau_equal_hashes_not_tau_messages():
    world = World(make_round())

    def hook(silo, kind, member, t, a):
        if (kind, member, t) != ("model", "m0", 1):
            return POST
        if silo.name == "silo-00" and "silo-00" not in world.said(kind, 1, member, t, a):
            world.append("silo-00", kind, 1, member, t, a, {"hash": b"other"})
            return HOLD
        return HOLD if silo.name == "silo-03" and world.now < 1100 else POST

    world.hook = hook
    while not world.decisions("advance"):
        world.tick()
    advance = world.decisions("advance")[0]
    assert advance.received >= 1100
    assert advance.body["silos"] == ["silo-01", "silo-02", "silo-03"]
    assert advance.body["hash"] != b"other"


def test_silo_that_begins_with_another_model_is_left_out_of_the_keys():
    world = World(make_round())

    def hook(silo, kind, member, t, a):
        if (silo.name, kind, member, t) == ("silo-00", "keys", "m0", 2):
            if silo.name not in world.said(kind, 1, member, t, a):
                world.append(silo.name, kind, 1, member, t, a, {"model": b"other", "public": b""})
            return HOLD
        return POST

    world.hook = hook
    assert reason(world.run()) == "Released"
    keysets = {x.t: x.body["silos"] for x in world.decisions("keyset") if x.member == "m0"}
    assert keysets == {1: list(world.round.silos), 2: ["silo-01", "silo-02", "silo-03"]}


def test_silos_that_all_begin_with_different_models_end_the_round():
    world = World(make_round())

    def hook(silo, kind, member, t, a):
        if (kind, member, t) == ("keys", "m0", 1):
            if silo.name not in world.said(kind, 1, member, t, a):
                world.append(silo.name, kind, 1, member, t, a, {"model": silo.name.encode(), "public": b""})
            return HOLD
        return POST

    world.hook = hook
    assert reason(world.run()) == "ModelDiverged"


def test_release_needs_signatures_under_its_own_manifest():
    world = World(make_round())

    def hook(silo, kind, *_):
        if kind == "sign" and silo.name > "silo-01":
            if silo.name not in world.said("sign", 1):
                world.append(silo.name, "sign", 1, "", 0, 0, {"digest": b"other"})
            return HOLD
        return POST

    world.hook = hook
    assert reason(world.run()) == "QuorumLost"
    assert "silo-03 (signed another manifest)" in world.decisions("failed")[0].body["message"]
    assert not world.decisions("released")


def test_tables_that_differ_end_the_round():
    world = World(make_round())

    def hook(silo, kind, *_):
        if kind == "score" and silo.name > "silo-01":
            if silo.name not in world.said("score", 1):
                world.append(silo.name, "score", 1, "", 0, 0, {"table": silo.name.encode()})
            return HOLD
        return POST

    world.hook = hook
    assert reason(world.run()) == "EvaluationDiverged"
