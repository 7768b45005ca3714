"""Silos that die: what is left is exactly the survivors' sum, or a t that says it failed."""

import numpy as np
import pytest

from fedgestalt.secagg.effects import Enrolled, Skipped, Void
from fedgestalt.secagg.kinds import Kind

STEPS = [Kind.KEYS, Kind.SHARES, Kind.MASKED, Kind.ACCEPT, Kind.REVEAL, Kind.MODEL]
LOST = ["aachen", "coburg", "dresden"]


def run(federation, name, kind, when, **kwargs):
    assert federation.enrol()
    federation.silos[name].die = (kind, when)
    return federation.sum(**kwargs)


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", STEPS)
def test_one_of_four_lost_at_any_step_leaves_exactly_the_survivors_sum(make_federation, kind, when, lost):
    federation = make_federation(4)
    assert federation.enrol()
    silo, t = federation.silos[lost], 1
    if kind is Kind.KEYS:
        # The keys of t = 1 go out with the enrolment: a silo lost at its keys is lost in t = 2.
        t = 2
        federation.tasks.append(("r50", t))
        federation.sum(before_advance=lambda: setattr(silo, "die", (kind, when)))
    else:
        silo.die = (kind, when)
    survivors = federation.sum(t=t)
    assert survivors is not None
    assert set(federation.names) - set(survivors) <= {lost}
    uploaded = kind in (Kind.ACCEPT, Kind.REVEAL, Kind.MODEL) or (kind, when) == (Kind.MASKED, "after")
    assert (lost in survivors) == uploaded
    expected = federation.expected("r50", t, survivors)
    for other in federation.live:
        assert np.array_equal(other.sums["r50", t], expected)


@pytest.mark.parametrize("kind", [Kind.SHARES, Kind.MASKED])
def test_three_silos_are_all_or_abort(make_federation, kind):
    federation = make_federation(3)
    assert run(federation, "coburg", kind, "before") is None
    assert all(("r50", 1) not in silo.sums for silo in federation.live)


@pytest.mark.parametrize("kind", [Kind.SHARES, Kind.MASKED, Kind.ACCEPT, Kind.REVEAL])
def test_two_of_seven_may_be_lost_at_the_same_step(make_federation, kind):
    federation = make_federation(7)
    assert federation.enrol()
    for name in ("berlin", "fulda"):
        federation.silos[name].die = (kind, "before")
    survivors = federation.sum()
    assert survivors is not None
    assert np.array_equal(federation.silos["essen"].sums["r50", 1], federation.expected("r50", 1, survivors))


def test_a_lost_silo_that_comes_back_in_time_makes_the_pinned_set_whole(make_federation):
    federation = make_federation(4)
    assert federation.enrol()
    for name in ("berlin", "dresden"):
        federation.silos[name].die = (Kind.ACCEPT, "before")
    at = ("r50", 1, 1)
    outcome, pinned = federation._try(at, None)
    assert (outcome, pinned) == ("retry", list(federation.names))
    for name in ("berlin", "dresden"):
        federation.silos[name].die = None
        federation.silos[name].restart()
    federation.decide(Kind.RETRY, {"reason": "TooFewReveals", "scale": 1}, at)
    outcome, _ = federation._try(("r50", 1, 2), pinned)
    assert outcome == federation.names
    assert np.array_equal(
        federation.silos["coburg"].sums["r50", 1], federation.expected("r50", 1, federation.names)
    )


def test_a_burnt_survivor_set_that_cannot_be_had_again_is_skipped(make_federation):
    federation = make_federation(4)
    assert federation.enrol()
    for name in ("berlin", "dresden"):
        federation.silos[name].die = (Kind.ACCEPT, "before")
    assert federation.sum() is None
    assert federation.effects("aachen", Skipped) == [Skipped("r50", 1)]


def test_a_silo_outside_the_survivors_follows_and_rejoins(make_federation):
    federation = make_federation(4, rounds=2)
    survivors = run(federation, "berlin", Kind.MASKED, "before")
    assert survivors == ("aachen", "coburg", "dresden")
    berlin = federation.silos["berlin"]
    berlin.die = None
    berlin.restart()
    federation.pump()
    assert np.array_equal(berlin.sums["r50", 1], federation.expected("r50", 1, survivors))
    assert berlin.models["r50"] == federation.silos["aachen"].models["r50"]
    assert federation.sum(t=2) == federation.names


def test_a_silo_outside_the_key_set_follows_too(make_federation):
    federation = make_federation(4, rounds=2)
    assert federation.enrol()
    federation.silos["dresden"].alive = False
    # Its keys are on the board, but the hub goes on without it.
    at = ("r50", 1, 1)
    names = ["aachen", "berlin", "coburg"]
    federation.decide(Kind.KEYSET, {"silos": names}, at)
    outcome, _ = federation._try(at, None)
    assert outcome == tuple(names)
    dresden = federation.silos["dresden"]
    dresden.restart()
    federation.pump()
    assert np.array_equal(dresden.sums["r50", 1], federation.expected("r50", 1, names))
    assert federation.sum(t=2) == federation.names


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", [Kind.ENROL, Kind.ENDORSE, Kind.OPENING, Kind.CONFIRM])
def test_a_loss_while_enrolling_voids_the_attempt_and_a_fresh_one_works(make_federation, kind, when):
    federation = make_federation(4)
    lost = federation.silos["coburg"]
    lost.die = (kind, when)
    stands = federation.enrol()
    if (kind, when) == (Kind.ENROL, "before"):
        assert stands  # three of four are enough, and the roster is what enrolled
        assert federation.roster == ["aachen", "berlin", "dresden"]
        return
    if (kind, when) == (Kind.CONFIRM, "after"):
        assert stands  # nothing more was needed of it
        return
    assert not stands
    assert federation.effects("aachen", Void)
    lost.die, lost.alive = None, True
    old = {name: silo.store.get("secagg/0192-test/1/root") for name, silo in federation.silos.items()}
    assert federation.enrol()
    for name, silo in federation.silos.items():
        assert silo.store.get("secagg/0192-test/2/root") != old[name]
    assert federation.sum() == federation.names
    h = {effect.h for effect in federation.effects("aachen", Enrolled)}
    assert len(h) == 1
