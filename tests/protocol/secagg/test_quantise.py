"""Fixed point: exact sums, no overflow, no clipping, the accuracy that is promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgestalt.crypto.ring import lift
from fedgestalt.secagg.errors import BoundExceededError, NonFiniteError
from fedgestalt.secagg.quantise import dequantise, quantise, two_significant_bits


def test_weights_have_two_significant_bits():
    known = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 6, 7: 8, 8: 8, 9: 8, 10: 12, 11: 12, 13: 12, 14: 16, 1000: 1024}
    assert {n: two_significant_bits(n) for n in known} == known


@given(st.integers(1, 10**9))
def test_rounded_weights_are_near_and_stay_as_they_are(count):
    weight = two_significant_bits(count)
    assert two_significant_bits(weight) == weight
    assert abs(weight - count) <= count / 4
    assert bin(weight)[2:].rstrip("0") in ("1", "11")
    with pytest.raises(ValueError, match="at least one"):
        two_significant_bits(0)


def federate(deltas, bounds, weights, survivors):
    n, total_weight = len(weights), sum(weights)
    total = sum(
        lift(quantise(deltas[i], bounds, weight=weights[i], total_weight=total_weight, n=n))
        for i in survivors
    )
    assert np.abs(total).max() < 2**31
    shapes = {name: np.shape(tensor) for name, tensor in deltas[0].items()}
    weight = sum(weights[i] for i in survivors)
    return dequantise(total, bounds, shapes, weight=weight, total_weight=total_weight, n=n)


def plain_mean(deltas, weights, survivors, name):
    return sum(weights[i] * deltas[i][name] for i in survivors) / sum(weights[i] for i in survivors)


@given(st.integers(3, 16), st.integers(0, 2**32), st.integers(0, 4), st.sampled_from([1, 10, 1e4]))
@settings(max_examples=60, deadline=None)
def test_the_mean_over_any_survivors_is_plain_fedavg_within_half_a_step_a_silo(n, seed, lost, looseness):
    generator = np.random.default_rng(seed)
    weights = [two_significant_bits(int(w)) for w in generator.integers(50, 900, n)]
    survivors = sorted(generator.permutation(n)[: max(n - lost, 1)].tolist())
    bounds, shapes = {"b": 0.7, "a": 1e-3, "c": 5.0}, {"b": (7, 3), "a": (2,), "c": (1, 2, 2)}
    deltas = [
        {name: generator.uniform(-1, 1, shapes[name]) * bounds[name] / looseness for name in shapes}
        for _ in range(n)
    ]
    mean = federate(deltas, bounds, weights, survivors)
    share = sum(weights[i] for i in survivors) / sum(weights)
    for name in shapes:
        assert mean[name].shape == shapes[name]
        step = bounds[name] / (2**31 - 1 - n) / share
        error = np.abs(mean[name] - plain_mean(deltas, weights, survivors, name)).max()
        assert error <= 1.001 * len(survivors) / 2 * step


@pytest.mark.parametrize("n", [3, 4, 7, 16])
def test_deltas_like_those_of_training_keep_a_millionth_of_their_largest_value(n):
    # Adam walks far less than its bound lr K (7.27 + ...): a hundredth here, with heavy tails.
    generator = np.random.default_rng(n)
    weights = [two_significant_bits(int(w)) for w in generator.integers(50, 900, n)]
    survivors = range(2 * n // 3 + 1)
    bounds = {"conv": 5e-4 * 40 * 7.27, "bn": 1e-3 * 40 * 7.27}
    deltas = [
        {
            name: generator.laplace(0, bounds[name] / 1000, 5000).clip(-bounds[name], bounds[name])
            for name in bounds
        }
        for _ in range(n)
    ]
    mean = federate(deltas, bounds, weights, survivors)
    for name in bounds:
        largest = max(np.abs(deltas[i][name]).max() for i in survivors)
        error = np.abs(mean[name] - plain_mean(deltas, weights, survivors, name)).max()
        assert error <= 1e-6 * largest


@pytest.mark.parametrize("n", [3, 4, 16, 128])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_sum_does_not_overflow_when_all_silos_sit_on_the_bound(n, sign):
    deltas = [{"a": np.full(3, sign * 0.3)}] * n
    mean = federate(deltas, {"a": 0.3}, [3] * n, range(n))
    assert np.allclose(mean["a"], sign * 0.3, rtol=1e-6)


def one(value, bound=1.0):
    return quantise({"x": np.array([value])}, {"x": bound}, weight=1, total_weight=1, n=3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_refused_by_the_tensors_name(value):
    with pytest.raises(NonFiniteError, match="'x'"):
        one(value)


@pytest.mark.parametrize("value", [1.0000001, -1.0000001, 1e300])
def test_values_beyond_the_bound_are_refused_not_clipped(value):
    with pytest.raises(BoundExceededError, match="'x'"):
        one(value)
    assert lift(one(1.0))[0] == 2**31 - 1 - 3


def test_a_tensor_bounded_by_zero_does_not_move():
    assert one(0.0, bound=0.0)[0] == 0
    with pytest.raises(BoundExceededError):
        one(1e-30, bound=0.0)


@pytest.mark.parametrize("bound", [np.nan, np.inf, -1.0])
def test_bounds_are_finite_and_not_negative(bound):
    with pytest.raises(ValueError, match="bound"):
        one(0.0, bound=bound)


def test_tensors_are_laid_out_in_the_order_of_their_names():
    delta = {"b": np.array([[1.0, -1.0]]), "a": np.array(0.5)}
    values = lift(quantise(delta, {"a": 1.0, "b": 1.0}, weight=1, total_weight=1, n=3))
    assert (values > 0).tolist() == [True, True, False]
    assert values[0] < values[1]


def test_names_and_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="differ in y"):
        quantise({"x": np.zeros(1)}, {"x": 1.0, "y": 1.0}, weight=1, total_weight=1, n=3)
    with pytest.raises(ValueError, match="shape"):
        dequantise(np.zeros(2, np.int64), {"x": 1.0}, {"x": (3,)}, weight=1, total_weight=1, n=3)
    with pytest.raises(ValueError, match="different"):
        dequantise(np.zeros(2, np.int64), {"x": 1.0}, {"y": (2,)}, weight=1, total_weight=1, n=3)
    with pytest.raises(ValueError, match="weight"):
        quantise({"x": np.zeros(1)}, {"x": 1.0}, weight=2, total_weight=1, n=3)
