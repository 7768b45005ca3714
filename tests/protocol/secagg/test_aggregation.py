"""Undisturbed sums: exact in the ring, equal to plain weighted FedAvg, followed by everyone."""

import numpy as np
import pytest

from fedgestalt.secagg.errors import SessionError
from fedgestalt.secagg.kinds import Kind
from fedgestalt.secagg.quantise import dequantise, quantise


@pytest.mark.parametrize("n", [3, 4, 5, 7])
def test_every_silo_gets_the_exact_sum(make_federation, n):
    federation = make_federation(n)
    assert federation.enrol()
    assert federation.sum() == federation.names
    expected = federation.expected("r50", 1, federation.names)
    for silo in federation.silos.values():
        assert np.array_equal(silo.sums["r50", 1], expected)


@pytest.mark.parametrize("n", [3, 4, 5, 7])
def test_the_result_equals_plain_weighted_fedavg(make_federation, n):
    federation = make_federation(n)
    generator = np.random.default_rng(n)
    shapes = {"conv.weight": (8, 3, 3, 3), "bn.bias": (8,), "fc.weight": (5, 8), "scalar": ()}
    # Adam steps: most values far below the bound of their tensor, as in training.
    bounds = dict.fromkeys(shapes, 0.001 * 30 * 7.27)
    deltas = {
        silo: {name: generator.standard_t(3, shape) * 1e-3 for name, shape in shapes.items()}
        for silo in federation.names
    }
    total = sum(federation.weights.values())
    for silo in federation.names:
        vector = quantise(deltas[silo], bounds, weight=federation.weights[silo], total_weight=total, n=n)
        federation.vectors[silo, "r50", 1] = vector
    assert federation.enrol()
    assert federation.sum() == federation.names
    for silo in federation.silos.values():
        mean = dequantise(silo.sums["r50", 1], bounds, shapes, weight=total, total_weight=total, n=n)
        for name in shapes:
            plain = sum(federation.weights[s] * deltas[s][name] for s in federation.names) / total
            scale = max(np.abs(deltas[s][name]).max() for s in federation.names)
            assert np.abs(mean[name] - plain).max() <= 1e-6 * scale


def test_several_communication_rounds_follow_each_other(make_federation):
    federation = make_federation(4, rounds=3)
    assert federation.enrol()
    for t in (1, 2, 3):
        assert federation.sum(t=t) == federation.names
    hashes = {silo.models["r50"] for silo in federation.silos.values()}
    assert len(hashes) == 1
    assert hashes.pop()[0] == 3


def test_a_sum_of_integers_travels_unweighted(make_federation):
    federation = make_federation(4, member="evaluation")
    for i, name in enumerate(federation.names):
        federation.vectors[name, "evaluation", 1] = np.arange(20, dtype=np.uint32) * i
    assert federation.enrol()
    federation.sum("evaluation")
    assert np.array_equal(federation.silos["aachen"].sums["evaluation", 1], np.arange(20) * 6)


def test_a_retry_uses_fresh_keys_and_the_same_vector(make_federation):
    federation = make_federation(4)
    assert federation.enrol()
    at = ("r50", 1, 1)
    federation.decide(Kind.KEYSET, {"silos": sorted(federation.posted(Kind.KEYS, at))}, at)
    federation.decide(Kind.SENDERS, {"silos": sorted(federation.posted(Kind.SHARES, at))}, at)
    first = federation.posted(Kind.MASKED, at)
    federation.decide(Kind.RETRY, {"reason": "again", "scale": 1}, at)
    outcome, _ = federation._try(("r50", 1, 2), None)
    assert outcome == federation.names
    second = federation.posted(Kind.MASKED, ("r50", 1, 2))
    assert all(first[name].body["digest"] != second[name].body["digest"] for name in first)
    assert np.array_equal(
        federation.silos["berlin"].sums["r50", 1], federation.expected("r50", 1, federation.names)
    )


def test_a_retry_with_a_wider_bound_waits_for_the_vector_quantised_anew(make_federation):
    federation = make_federation(4)
    assert federation.enrol()
    federation.pump()
    federation.decide(Kind.RETRY, {"reason": "BoundExceeded", "scale": 16}, ("r50", 1, 1))
    outcome, _ = federation._try(("r50", 1, 2), None)
    assert outcome == federation.names
    expected = federation.expected("r50", 1, federation.names, scale=16)
    assert np.array_equal(federation.silos["berlin"].sums["r50", 1], expected)
    assert not np.array_equal(expected, federation.expected("r50", 1, federation.names))


def test_a_vector_under_the_bounds_of_another_try_is_never_sent(make_federation):
    federation = make_federation(4)
    assert federation.enrol()
    federation.pump()
    silo = federation.silos["berlin"]
    silo.submit = silo.work = lambda *_: None
    federation.decide(Kind.RETRY, {"reason": "BoundExceeded", "scale": 16}, ("r50", 1, 1))
    with pytest.raises(SessionError, match="16 times"):
        silo.session.submit("r50", 1, federation.vector("berlin", "r50", 1), scale=1)
    outcome, _ = federation._try(("r50", 1, 2), None)
    assert outcome == ("aachen", "coburg", "dresden")
