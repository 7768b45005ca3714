"""Whatever the order of losses and restarts, each t ends in the exact sum of its survivors."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedgestalt.secagg.kinds import Kind

STEPS = st.sampled_from([Kind.SHARES, Kind.MASKED, Kind.ACCEPT, Kind.REVEAL, Kind.MODEL])
LOSS = st.none() | st.tuples(st.integers(0, 6), STEPS, st.sampled_from(["before", "after"]))


@given(
    n=st.integers(4, 7),
    losses=st.lists(LOSS, min_size=3, max_size=3),
    crashes=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 120)), max_size=3),
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_communication_round_ends_in_the_exact_sum_of_its_survivors(
    make_federation, n, losses, crashes
):
    federation = make_federation(n, rounds=len(losses), size=9)
    names = federation.names
    for place, index in crashes:
        federation.silos[names[place % n]].crash_at = index
    assert federation.enrol()
    for t, loss in enumerate(losses, start=1):
        victim = None
        if loss is not None:
            victim = federation.silos[names[loss[0] % n]]
            victim.die = loss[1:]
        survivors = federation.sum(t=t)
        assert survivors is not None
        assert len(survivors) >= federation.need
        expected = federation.expected("r50", t, survivors)
        for silo in federation.live:
            assert np.array_equal(silo.sums["r50", t], expected)
        for message in federation.posted(Kind.REVEAL, ("r50", t, 1)).values():
            assert set(message.body["self"]) == set(survivors)
            assert not set(message.body["self"]) & set(message.body["pair"])
        if victim is not None:
            victim.die = None
            if not victim.alive:
                victim.restart()
            federation.pump()
            assert np.array_equal(victim.sums["r50", t], expected)
    assert len({silo.models["r50"] for silo in federation.silos.values()}) == 1
