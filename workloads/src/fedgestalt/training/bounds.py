"""Public bounds B on local updates, one per tensor, that every silo computes from the same global model.

The masked integers of secure aggregation cover [-B, B]; a value beyond B is an error, never a clip. For Adam
and AdamW the bound holds by construction. Write m_k and v_k for the bias-corrected moments after k steps:

    m_k = sum_i a_i g_i,    a_i = (1 - b1) b1^(k-i) / (1 - b1^k)
    v_k = sum_i c_i g_i^2,  c_i = (1 - b2) b2^(k-i) / (1 - b2^k)

Cauchy-Schwarz gives m_k^2 <= v_k sum_i a_i^2 / c_i, hence for every sequence of gradients

    |m_k| / (sqrt(v_k) + eps) <= sqrt( (1-b1)^2 / (1-b2) (1-b2^k) / (1-b1^k)^2 (1-r^k) / (1-r) ),  r = b1^2/b2

which rises to (1 - b1) / sqrt((1 - b2) (1 - r)) = 7.2703 for b1 = .9, b2 = .999. It does not matter how many
steps lie before the communication round, so the optimizer's state may be kept. Adam's L2 term and FedProx's
proximal term are part of the gradient and change nothing; AdamW's decay W <- (1 - lr wd) W adds at most
lr wd max|W| a step, W being the model at the round's beginning (the decay pulls inwards whatever steps add).
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .config import Member, OptimizerType
from .errors import BoundExceededError, NonFiniteError
from .naming import is_head, is_statistic, ordered

BETA1: Final = 0.9
BETA2: Final = 0.999
EPSILON: Final = 1e-8

ADAM_STEP: Final = (1 - BETA1) / math.sqrt((1 - BETA2) * (1 - BETA1**2 / BETA2))
"""Supremum of |m|/(sqrt(v)+eps) over gradient sequences and steps: 7.27029..."""

FLOAT32_SLACK: Final = 1 + 2.0**-9
"""Room for the optimizer's float32 arithmetic: v sums ~1/(1-b2) roundings, each below 2^-24 relative."""

STATISTICS_FIRST: Final = 4.0
STATISTICS_GROWTH: Final = 16.0
STATISTICS_FLOOR: Final = 0.05

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def adam_step_bound(k: int) -> float:
    """Largest |m_k|/(sqrt(v_k)+eps) after `k` >= 1 steps (the formula of this module's head)."""
    r = BETA1**2 / BETA2
    shrink = (1 - BETA2**k) / (1 - BETA1**k) ** 2 * (1 - r**k) / (1 - r)
    return math.sqrt((1 - BETA1) ** 2 / (1 - BETA2) * shrink)


def update_bounds(
    member: Member, global_: Mapping[str, Float32], last_delta: Mapping[str, Float64] | None
) -> dict[str, float]:
    """B per tensor of `global_`, in canonical order of names.

    Args:
        member: gives learning rates, weight decay and the cap on steps.
        global_: the global model that the communication round starts from, float32.
        last_delta: the last aggregated mean delta of the BatchNorm statistics, None before there is one.
    """
    bounds: dict[str, float] = {}
    for name in ordered(global_):
        if is_statistic(name):
            last = None if last_delta is None else last_delta.get(name)
            bounds[name] = statistic_bound(global_[name], last)
        else:
            bounds[name] = parameter_bound(member, name, _largest(global_[name]))
    return bounds


def parameter_bound(member: Member, name: str, largest: float) -> float:
    """lr * maxSteps * (7.27 + weightDecay * max|W|) for a parameter, plus float32's rounding of W."""
    optimizer = member.optimizer
    rate = optimizer.head_learning_rate if is_head(name) else optimizer.learning_rate
    decay = optimizer.weight_decay if optimizer.type is OptimizerType.ADAMW else 0.0
    bound = rate * member.max_steps * (ADAM_STEP * FLOAT32_SLACK + decay * largest)
    rounding = member.max_steps * 2.0**-24 * (largest + bound)
    return bound + rounding


def statistic_bound(global_: Float32, last_delta: Float64 | None) -> float:
    """B of a BatchNorm statistic: 16 times its last global change, at first 4 (1 + its largest value)."""
    if last_delta is None:
        return STATISTICS_FIRST * (1.0 + _largest(global_))
    return STATISTICS_GROWTH * _largest(last_delta) + STATISTICS_FLOOR


def check_update(delta: Mapping[str, Float64], bounds: Mapping[str, float]) -> None:
    """Refuse an update that cannot be encoded.

    Raises:
        NonFiniteError: for NaN or infinity; names the tensor, not the value.
        BoundExceededError: beyond the bound; names the tensor.
        ValueError: where the names differ.
    """
    if set(delta) != set(bounds):
        raise ValueError(f"update and bounds differ in {', '.join(sorted(set(delta) ^ set(bounds))[:5])}")
    for name in ordered(delta):
        if not np.isfinite(delta[name]).all():
            raise NonFiniteError(f"the update of {name} is not finite: lower the learning rate")
        if _largest(delta[name]) > bounds[name]:
            raise BoundExceededError(f"the update of {name} lies beyond its bound {bounds[name]:.3g}")


def _largest(tensor: NDArray[np.floating[Any]]) -> float:
    return float(np.abs(tensor).max()) if tensor.size else 0.0
