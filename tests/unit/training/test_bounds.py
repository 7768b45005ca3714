"""The public bound on updates holds for every sequence of gradients, not only for likely ones."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgestalt.training.bounds import (
    ADAM_STEP,
    BETA1,
    BETA2,
    STATISTICS_FLOOR,
    adam_step_bound,
    check_update,
    parameter_bound,
    statistic_bound,
    update_bounds,
)
from fedgestalt.training.config import Member, Optimizer, OptimizerType
from fedgestalt.training.errors import BoundExceededError, NonFiniteError
from fedgestalt.training.steps import build_optimizer

BIG = 2.0**50
FURTHEST = np.concatenate([np.full(3000, 1e-14), 1e-9 * (BETA2 / BETA1) ** np.arange(399.0)])
"""Gradients whose last step is nearly the supremum."""
finite = st.floats(-BIG, BIG, allow_nan=False, width=32)


def ratio(gradients: np.ndarray) -> float:
    """|m_hat| / sqrt(v_hat) after the gradients, by Adam's recursion."""
    m = v = 0.0
    for g in gradients:
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g * g
    k = len(gradients)
    return abs(m / (1 - BETA1**k)) / math.sqrt(v / (1 - BETA2**k))


def worst(k: int) -> np.ndarray:
    """Gradients for which Cauchy-Schwarz is an equality: g_i proportional to a_i / c_i."""
    age = np.arange(k - 1, -1, -1.0)
    gradients: np.ndarray = (BETA1 / BETA2) ** age
    return gradients


@pytest.mark.parametrize("k", [1, 2, 3, 10, 100, 1000])
def test_the_bound_after_k_steps_is_reached_by_the_worst_gradients(k: int) -> None:
    assert ratio(worst(k)) == pytest.approx(adam_step_bound(k), rel=1e-9)


def test_seven_point_two_seven_is_the_supremum_over_steps() -> None:
    assert pytest.approx(7.2703, abs=5e-5) == ADAM_STEP
    steps = [adam_step_bound(k) for k in range(1, 20_000)]
    assert max(steps) <= ADAM_STEP
    assert adam_step_bound(20_000) == pytest.approx(ADAM_STEP, rel=1e-6)
    assert steps[0] == pytest.approx(1.0)


@given(st.lists(st.floats(-1e6, 1e6).filter(lambda g: abs(g) > 1e-6), min_size=1, max_size=60))
def test_no_sequence_of_gradients_beats_the_bound(gradients: list[float]) -> None:
    assert ratio(np.array(gradients)) <= adam_step_bound(len(gradients)) * (1 + 1e-9)


def move(member: Member, start: np.ndarray, gradients: np.ndarray, head: bool, warm: int) -> np.ndarray:
    """delta in float64 of real optimizer steps, after `warm` earlier ones whose moments are kept."""
    module = torch.nn.Module()
    part = torch.nn.Module()
    part.register_parameter("weight", torch.nn.Parameter(torch.from_numpy(start.copy())))
    module.add_module("head" if head else "extractor", part)
    optimizer = build_optimizer(module, member)
    weight = part.weight
    assert isinstance(weight, torch.nn.Parameter)
    before = start
    for i, gradient in enumerate(gradients):
        if i == warm:
            with torch.no_grad():
                weight.copy_(torch.from_numpy(start))
            before = start
        for group in optimizer.param_groups:
            group["lr"] = group["base"]
        weight.grad = torch.full_like(weight, float(gradient))
        optimizer.step()
    return weight.detach().numpy().astype(np.float64) - before.astype(np.float64)


def holds(
    kind: OptimizerType, gradients: np.ndarray, warm: int, largest: float, decay: float, head: bool
) -> None:
    rates = Optimizer(kind, learning_rate=1e-3, head_learning_rate=3e-3, weight_decay=decay)
    steps = len(gradients) - warm
    member = Member("m", "none", optimizer=rates, max_steps=steps)
    start = np.array([largest, -largest, largest / 3, 0.0], dtype=np.float32)
    delta = move(member, start, gradients.astype(np.float32), head, warm)
    name = f"{'head' if head else 'extractor'}.weight"
    assert np.abs(delta).max() <= parameter_bound(member, name, float(np.abs(start).max()))


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(OptimizerType),
    gradients=st.lists(finite, min_size=1, max_size=25),
    warm=st.integers(0, 24),
    largest=st.sampled_from([0.0, 1e-3, 1.0, 50.0]),
    decay=st.sampled_from([0.0, 5e-5, 0.5]),
    head=st.booleans(),
)
def test_an_update_stays_within_its_bound_for_any_gradients(
    kind: OptimizerType, gradients: list[float], warm: int, largest: float, decay: float, head: bool
) -> None:
    holds(kind, np.array(gradients), min(warm, len(gradients) - 1), largest, decay, head)


@pytest.mark.parametrize("kind", OptimizerType)
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_an_update_stays_within_its_bound_for_the_gradients_that_move_furthest(
    kind: OptimizerType, decay: float
) -> None:
    """Silence, then growth at the worst rate: each late step is close to 7.27 learning rates."""
    growth = np.concatenate([np.full(400, 1e-12), 1e-9 * 1.11 ** np.arange(150.0)])
    for sign in (1.0, -1.0):
        holds(kind, sign * growth, 400, 1.0, decay, head=False)
        holds(kind, sign * growth, 0, 1.0, decay, head=True)


def test_the_worst_gradients_come_near_the_bound_so_that_it_is_not_merely_loose() -> None:
    member = Member("m", "none", optimizer=Optimizer(learning_rate=1e-3, weight_decay=0.0), max_steps=1)
    delta = move(member, np.zeros(1, np.float32), FURTHEST, head=False, warm=len(FURTHEST) - 1)
    bound = parameter_bound(member, "extractor.weight", 0.0)
    assert 0.97 * bound < np.abs(delta).max() <= bound


def test_the_bound_has_room_for_rounding_a_large_weight() -> None:
    """Below 2^20 float32 has steps of 1/16: a move of 0.036 becomes 0.0625."""
    member = Member("m", "none", optimizer=Optimizer(learning_rate=0.005, weight_decay=0.0), max_steps=1)
    delta = move(member, np.array([2.0**20], np.float32), FURTHEST, head=False, warm=len(FURTHEST) - 1)
    assert ADAM_STEP * 0.005 * 1.01 < np.abs(delta).max() <= parameter_bound(member, "extractor.w", 2.0**20)


def test_only_adamw_needs_room_for_its_decay() -> None:
    adam = Member("m", "x", optimizer=Optimizer(OptimizerType.ADAM, weight_decay=0.1))
    adamw = Member("m", "x", optimizer=Optimizer(OptimizerType.ADAMW, weight_decay=0.1))
    expected = 5e-4 * 1000 * 0.1 * 2.0
    room = parameter_bound(adamw, "extractor.w", 2.0) - parameter_bound(adam, "extractor.w", 2.0)
    assert room == pytest.approx(expected, rel=1e-3)


def test_bounds_follow_the_head_s_rate_the_largest_weight_and_the_last_change_of_statistics() -> None:
    member = Member("m", "x", max_steps=10)
    ones = np.ones(3, dtype=np.float32)
    model = {"head.weight": ones, "extractor.bn.running_var": 2 * ones, "extractor.w": ones}
    first = update_bounds(member, model, None)
    assert list(first) == sorted(model)
    assert first["head.weight"] == pytest.approx(2 * first["extractor.w"], rel=1e-3)
    assert first["extractor.bn.running_var"] == 4.0 * 3.0
    later = update_bounds(member, model, {"extractor.bn.running_var": np.array([0.1, -0.2, 0.0])})
    assert later["extractor.bn.running_var"] == pytest.approx(16 * 0.2 + STATISTICS_FLOOR)
    assert later["extractor.w"] == first["extractor.w"]


def test_a_statistic_that_stood_still_may_move_again() -> None:
    assert statistic_bound(np.ones(2, np.float32), np.zeros(2)) == STATISTICS_FLOOR


def test_an_update_beyond_its_bound_is_refused_and_never_clipped() -> None:
    delta = {"extractor.w": np.array([0.5, -2.0])}
    check_update(delta, {"extractor.w": 2.0})
    with pytest.raises(BoundExceededError, match=r"extractor\.w"):
        check_update(delta, {"extractor.w": 1.999})
    assert delta["extractor.w"][1] == -2.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_update_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(NonFiniteError, match=r"extractor\.w"):
        check_update({"extractor.w": np.array([0.0, bad])}, {"extractor.w": 1e300})


def test_an_update_of_other_tensors_than_the_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"extractor\.b"):
        check_update({"extractor.w": np.zeros(1)}, {"extractor.w": 1.0, "extractor.b": 1.0})
