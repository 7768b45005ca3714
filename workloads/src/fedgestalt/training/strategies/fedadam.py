"""FedAdam, Adam as the server optimizer: Reddi et al. 2021, arXiv 2003.00295, algorithm 2."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .base import Float32, Float64, State, apply


@dataclass(frozen=True, slots=True)
class FedAdam:
    """m' = b1 m + (1 - b1) delta;  v' = b2 v + (1 - b2) delta^2;  w' = w + lr m' / (sqrt(v') + tau).

    m starts at 0 and v at tau^2, without bias correction, as in the paper.
    """

    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def step(
        self, global_: Mapping[str, Float32], mean_delta: Mapping[str, Float64], state: State
    ) -> tuple[dict[str, Float32], dict[str, Float64]]:
        """See `Strategy.step`. State: `m/<tensor>` and `v/<tensor>`."""
        new: dict[str, Float64] = {}

        def update(name: str, weights: Float64, delta: Float64) -> Float64:
            m = state.get(f"m/{name}", np.zeros_like(delta))
            v = state.get(f"v/{name}", np.full_like(delta, self.tau * self.tau))
            m = self.beta1 * m + (1.0 - self.beta1) * delta
            v = self.beta2 * v + (1.0 - self.beta2) * (delta * delta)
            new[f"m/{name}"], new[f"v/{name}"] = m, v
            return weights + self.learning_rate * m / (np.sqrt(v) + self.tau)

        return apply(global_, mean_delta, update), new
