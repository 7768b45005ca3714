"""From a trained difference to the vector that is masked, and from the sum back to the next global model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedgestalt.secagg.effects import Summed
from fedgestalt.secagg.quantise import dequantise, quantise
from fedgestalt.secagg.session import SiloSession
from fedgestalt.silo.models import GlobalModel
from fedgestalt.training.bounds import update_bounds
from fedgestalt.training.config import TrainingConfig
from fedgestalt.training.strategies import build_strategy


class Updates:
    """The arithmetic of one round's aggregations. All silos do it alike, from the same model, to the same bits."""

    def __init__(self, training: TrainingConfig) -> None:
        self._training = training
        self._strategy = build_strategy(training.strategy)

    def encode(
        self,
        session: SiloSession,
        member: str,
        delta: Mapping[str, NDArray[np.float64]],
        model: GlobalModel,
        scale: int,
    ) -> NDArray[np.uint32]:
        """A silo's difference as a vector modulo 2^32.

        Args:
            session: enrolled.
            member: of the ensemble.
            delta: local minus global, by tensor.
            model: the global model that training began from.
            scale: multiple of the public bounds that holds in this try.

        Raises:
            NonFiniteError, BoundExceededError: see `fedgestalt.secagg.quantise`.
        """
        return quantise(
            delta,
            self._bounds(member, model, scale),
            weight=session.weights[session.name],
            total_weight=sum(session.weights.values()),
            n=len(session.roster),
        )

    def step(self, session: SiloSession, effect: Summed, model: GlobalModel, scale: int) -> GlobalModel:
        """The global model after the verified sum of the survivors' vectors."""
        weights = session.weights
        mean = dequantise(
            effect.total,
            self._bounds(effect.member, model, scale),
            {name: tensor.shape for name, tensor in model.tensors.items()},
            weight=sum(weights[name] for name in effect.survivors),
            total_weight=sum(weights.values()),
            n=len(session.roster),
        )
        tensors, strategy = self._strategy.step(model.tensors, mean, model.strategy)
        return GlobalModel(effect.t, tensors, model.initial_hash, strategy, mean)

    def _bounds(self, member: str, model: GlobalModel, scale: int) -> dict[str, float]:
        """The public bounds of a try: the hub may have widened them for all."""
        bounds = update_bounds(self._training.member(member), model.tensors, model.previous or None)
        return {name: scale * bound for name, bound in bounds.items()}
