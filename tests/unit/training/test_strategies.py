"""Server steps: the papers' formulas, the same bits each time, statistics always plainly averaged."""

import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from fedgestalt.training.config import StrategyConfig, StrategyType
from fedgestalt.training.strategies import FedAdam, FedAvg, FedAvgM, FedProx, Strategy, build_strategy

W, STAT = "extractor.conv.weight", "extractor.bn.running_var"
Model = dict[str, NDArray[np.float32]]
Delta = dict[str, NDArray[np.float64]]


def start(seed: int = 0) -> Model:
    rng = np.random.default_rng(seed)
    return {n: rng.normal(1.0, 0.3, (5, 7)).astype(np.float32) for n in (W, STAT, "head.bias")}


def changes(seed: int, scale: float = 0.01) -> Delta:
    rng = np.random.default_rng(seed)
    return {n: rng.normal(0.0, scale, (5, 7)) for n in (W, STAT, "head.bias")}


def run(strategy: Strategy, rounds: int = 3) -> tuple[Model, Mapping[str, NDArray[np.float64]]]:
    model = start()
    state: Mapping[str, NDArray[np.float64]] = {}
    for t in range(rounds):
        model, state = strategy.step(model, changes(t + 1), state)
    return model, state


ALL = [FedAvg(), FedProx(), FedAvgM(0.7, 0.5), FedAdam()]


@pytest.mark.parametrize("strategy", [FedAvg(), FedProx()])
def test_fedavg_and_fedprox_add_the_mean_delta(strategy: Strategy) -> None:
    new, state = strategy.step(start(), changes(1), {})
    np.testing.assert_array_equal(new[W], (start()[W].astype(np.float64) + changes(1)[W]).astype(np.float32))
    assert not state


def test_fedavgm_accumulates_velocity() -> None:
    first, state = FedAvgM(0.7, 0.5).step(start(), changes(1), {})
    np.testing.assert_allclose(first[W], start()[W] + 0.7 * changes(1)[W], rtol=1e-6)
    second, _ = FedAvgM(0.7, 0.5).step(first, changes(2), state)
    velocity = 0.5 * changes(1)[W] + changes(2)[W]
    np.testing.assert_allclose(second[W], first[W] + 0.7 * velocity, rtol=1e-6)


def test_fedavgm_without_momentum_is_fedavg() -> None:
    plain, _ = run(FedAvg())
    model, _ = run(FedAvgM(1.0, 0.0))
    assert all(model[n].tobytes() == plain[n].tobytes() for n in plain)


def test_fedadam_follows_algorithm_2() -> None:
    strategy = FedAdam(learning_rate=0.1, beta1=0.8, beta2=0.9, tau=1e-2)
    model = start()
    state: Mapping[str, NDArray[np.float64]] = {}
    m, v, w = np.zeros((5, 7)), np.full((5, 7), 1e-4), start()[W].astype(np.float64)
    for t in (1, 2):
        model, state = strategy.step(model, changes(t), state)
        m = 0.8 * m + 0.2 * changes(t)[W]
        v = 0.9 * v + 0.1 * changes(t)[W] ** 2
        w = w + 0.1 * m / (np.sqrt(v) + 1e-2)
    np.testing.assert_allclose(model[W], w, rtol=1e-6)


@pytest.mark.parametrize("strategy", ALL, ids=lambda s: type(s).__name__)
def test_statistics_are_plainly_averaged_by_every_strategy(strategy: Strategy) -> None:
    first, state = strategy.step(start(), changes(1), {})
    second, state = strategy.step(first, changes(2), state)
    expected = (first[STAT].astype(np.float64) + changes(2)[STAT]).astype(np.float32)
    np.testing.assert_array_equal(second[STAT], expected)
    assert not any(STAT in key for key in state)


@pytest.mark.parametrize("strategy", ALL, ids=lambda s: type(s).__name__)
def test_the_same_bits_result_whatever_the_order_and_layout_of_the_input(strategy: Strategy) -> None:
    once, _ = strategy.step(start(), changes(1), {})
    model = {n: np.asfortranarray(a) for n, a in reversed(start().items())}
    delta = {n: np.asfortranarray(a) for n, a in reversed(changes(1).items())}
    again, _ = strategy.step(model, delta, {})
    assert list(once) == list(again) == sorted(once)
    assert all(once[n].tobytes() == np.ascontiguousarray(again[n]).tobytes() for n in once)
    assert all(a.dtype == np.float32 for a in once.values())


@pytest.mark.parametrize("strategy", ALL, ids=lambda s: type(s).__name__)
def test_repeated_runs_give_the_same_bits(strategy: Strategy) -> None:
    (one, state), (two, again) = run(strategy), run(strategy)
    assert all(one[n].tobytes() == two[n].tobytes() for n in one)
    assert all(state[n].tobytes() == again[n].tobytes() for n in state)


def test_a_step_leaves_its_input_alone() -> None:
    model, delta = start(), changes(1)
    FedAdam().step(model, delta, {})
    assert all(model[n].tobytes() == start()[n].tobytes() for n in model)
    assert all(delta[n].tobytes() == changes(1)[n].tobytes() for n in delta)


def test_names_and_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"head\.bias"):
        FedAvg().step(start(), {n: d for n, d in changes(1).items() if n != "head.bias"}, {})
    with pytest.raises(ValueError, match="shape"):
        FedAvg().step(start(), changes(1) | {W: np.zeros((1, 7))}, {})


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_model_that_is_not_finite_is_an_error(bad: float) -> None:
    with pytest.raises(FloatingPointError, match="not finite"):
        FedAvg().step(start(), changes(1) | {W: np.full((5, 7), bad)}, {})


def test_the_configuration_chooses_strategy_and_parameters() -> None:
    assert build_strategy(StrategyConfig()) == FedAvg()
    assert build_strategy(StrategyConfig(StrategyType.FEDPROX)) == FedProx()
    assert build_strategy(StrategyConfig(StrategyType.FEDAVGM, momentum=0.3)) == FedAvgM(1.0, 0.3)
    adam = StrategyConfig(StrategyType.FEDADAM, learning_rate=0.5, beta1=0.1, beta2=0.2, tau=0.3)
    assert build_strategy(adam) == FedAdam(0.5, 0.1, 0.2, 0.3)
    assert StrategyConfig(StrategyType.FEDPROX, mu=0.2).proximal == 0.2
    assert StrategyConfig(StrategyType.FEDAVG, mu=0.2).proximal == 0.0


def test_what_the_silo_agent_imports_needs_neither_torch_nor_ray() -> None:
    names = (
        "bounds",
        "config",
        "endpoint",
        "errors",
        "exit_codes",
        "link",
        "naming",
        "parsing",
        "strategies",
    )
    code = "; ".join(
        [
            *(f"import fedgestalt.training.{name}" for name in names),
            "import sys; print(sorted({'torch', 'ray', 'fastapi'} & set(sys.modules)))",
        ]
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "[]"
