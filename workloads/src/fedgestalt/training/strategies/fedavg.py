"""Federated averaging: McMahan et al. 2017, arXiv 1602.05629, algorithm 1."""

from collections.abc import Mapping
from dataclasses import dataclass

from .base import Float32, Float64, State, apply


@dataclass(frozen=True, slots=True)
class FedAvg:
    """w' = w + sum_i (w_i / W) delta_i: the weighted mean of the silos' models."""

    def step(
        self, global_: Mapping[str, Float32], mean_delta: Mapping[str, Float64], state: State
    ) -> tuple[dict[str, Float32], dict[str, Float64]]:
        """See `Strategy.step`. Keeps no state."""
        return apply(global_, mean_delta, lambda _, w, d: w + d), {}
