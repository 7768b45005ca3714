"""FedAvgM, averaging with server momentum: Hsu, Qi, Brown 2019, arXiv 1909.06335, section 4.3."""

from collections.abc import Mapping
from dataclasses import dataclass

from .base import Float32, Float64, State, apply


@dataclass(frozen=True, slots=True)
class FedAvgM:
    """v' = beta v + delta;  w' = w + lr v'."""

    learning_rate: float = 1.0
    momentum: float = 0.9

    def step(
        self, global_: Mapping[str, Float32], mean_delta: Mapping[str, Float64], state: State
    ) -> tuple[dict[str, Float32], dict[str, Float64]]:
        """See `Strategy.step`. State: `velocity/<tensor>`."""
        new: dict[str, Float64] = {}

        def update(name: str, weights: Float64, delta: Float64) -> Float64:
            previous = state.get(f"velocity/{name}")
            velocity = delta if previous is None else self.momentum * previous + delta
            new[f"velocity/{name}"] = velocity
            return weights + self.learning_rate * velocity

        return apply(global_, mean_delta, update), new
