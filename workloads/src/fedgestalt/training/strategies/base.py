"""What every strategy is, and the checks and arithmetic they share."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..naming import is_statistic, ordered

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
State = Mapping[str, Float64]
"""A strategy's memory between communication rounds: float64 arrays `<moment>/<tensor>`; empty at first."""


class Strategy(Protocol):
    """A server step. Only + - * / and sqrt in float64, elementwise and in a fixed order, cast last.

    Each is correctly rounded by IEEE 754, so that silos with different processors get the same bits.
    """

    def step(
        self, global_: Mapping[str, Float32], mean_delta: Mapping[str, Float64], state: State
    ) -> tuple[dict[str, Float32], dict[str, Float64]]:
        """The new global model and the new state.

        Args:
            global_: the model the deltas start from, float32.
            mean_delta: weighted mean of (local - global), float64, same names and shapes.
            state: what the previous call returned; {} at first.

        Raises:
            ValueError: where names or shapes differ.
            FloatingPointError: where the new model is not finite in float32.
        """
        ...


Update = Callable[[str, Float64, Float64], Float64]
"""(name, weights, mean delta) -> new weights."""


def apply(
    global_: Mapping[str, Float32], mean_delta: Mapping[str, Float64], update: Update
) -> dict[str, Float32]:
    """Apply `update` to every tensor in canonical order; BatchNorm statistics are always plainly averaged.

    An adaptive step on a running variance has no meaning and could turn it negative.
    """
    if set(global_) != set(mean_delta):
        raise ValueError(f"model and delta differ in {', '.join(sorted(set(global_) ^ set(mean_delta))[:5])}")
    result: dict[str, Float32] = {}
    for name in ordered(global_):
        weights, delta = global_[name].astype(np.float64), np.asarray(mean_delta[name], np.float64)
        if weights.shape != delta.shape:
            raise ValueError(f"{name} has shape {weights.shape} and its delta {delta.shape}")
        new = weights + delta if is_statistic(name) else update(name, weights, delta)
        with np.errstate(over="ignore", invalid="ignore"):
            cast = new.astype(np.float32)
        if not np.isfinite(cast).all():
            raise FloatingPointError(f"{name} is not finite after the server step")
        result[name] = cast
    return result
