"""Updates as integers: fixed point under public bounds, so that sums are exact and their order does not
matter.

x_i = round((2^31 - 1 - n) (w_i / W) delta / B), with n silos in the roster, weights w_i, W = sum w_i
over the roster and one bound B per tensor. The sum over any survivors then lies within (-2^31, 2^31):
the weights add up to at most one, and rounding adds at most n / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, prod

import numpy as np
from numpy.typing import NDArray

from fedgestalt.crypto.ring import Ring
from fedgestalt.secagg.errors import BoundExceededError, NonFiniteError

Float64 = NDArray[np.float64]


def two_significant_bits(count: int) -> int:
    """``count`` (at least 1) rounded to two significant bits: 1, 2, 3, 4, 6, 8, 12, ... (a tie goes up).

    Weights are public, and this much is enough to weight by.
    """
    if count < 1:
        raise ValueError(f"a weight counts at least one photo, not {count}")
    shift = max(count.bit_length() - 2, 0)
    half = (1 << shift) >> 1
    return (count + half) >> shift << shift


def quantise(
    delta: Mapping[str, Float64], bounds: Mapping[str, float], *, weight: int, total_weight: int, n: int
) -> Ring:
    """Turn a silo's update into ring elements.

    Args:
        delta: local minus global, float64, any shapes; taken in sorted order of names.
        bounds: the public bound of each tensor, finite and not negative.
        weight: w_i.
        total_weight: W over the roster.
        n: silos in the roster.

    Returns:
        uint32 [P], P the number of all values.

    Raises:
        NonFiniteError: a tensor holds NaN or infinity.
        BoundExceededError: a tensor holds a value beyond its bound. Nothing is ever clipped.
        ValueError: names differ, or weight and counts are out of range.
    """
    if delta.keys() != bounds.keys():
        odd = sorted(delta.keys() ^ bounds.keys())
        raise ValueError(f"tensors and bounds differ in {', '.join(odd[:5])}")
    if not 0 < weight <= total_weight or n < 1:
        raise ValueError("a weight lies between 1 and the total, and a roster has silos")
    result = np.empty(sum(tensor.size for tensor in delta.values()), dtype=np.int32)
    start = 0
    for name in sorted(delta):
        tensor = np.ascontiguousarray(delta[name], dtype=np.float64).reshape(-1)
        bound = _bound(name, bounds[name])
        # NaN and infinity pass through minimum and maximum.
        low, high = (float(tensor.min()), float(tensor.max())) if tensor.size else (0.0, 0.0)
        if not (isfinite(low) and isfinite(high)):
            raise NonFiniteError(
                f"tensor {name!r} of the update holds NaN or infinity; the training diverged"
            )
        if max(-low, high) > bound:
            raise BoundExceededError(f"tensor {name!r} of the update holds a value beyond its public bound")
        scale = _steps(n) * (weight / total_weight) / bound if bound else 0.0
        np.rint(tensor * scale, out=result[start : start + tensor.size], casting="unsafe")
        start += tensor.size
    return result.view(np.uint32)


def dequantise(
    total: NDArray[np.int64],
    bounds: Mapping[str, float],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    weight: int,
    total_weight: int,
    n: int,
) -> dict[str, Float64]:
    """Turn the sum of the survivors' vectors into their weighted mean update.

    Args:
        total: signed sum, int64 [P].
        bounds: as in :func:`quantise`.
        shapes: shape of each tensor.
        weight: the sum of w_i over the survivors.
        total_weight: W over the roster.
        n: silos in the roster.

    Returns:
        The mean update sum w_i delta_i / sum w_i over the survivors S: float64, by name in sorted order, within
        |S| / 2 B / (2^31 - 1 - n) W / weight of the exact one.

    Raises:
        ValueError: names or sizes differ.
    """
    if shapes.keys() != bounds.keys():
        raise ValueError("shapes and bounds name different tensors")
    size = sum(prod(shape) for shape in shapes.values())
    if total.shape != (size,):
        raise ValueError(f"the sum has shape {total.shape}; the tensors have {size} values")
    if not 0 < weight <= total_weight or n < 1:
        raise ValueError("a weight lies between 1 and the total, and a roster has silos")
    result: dict[str, Float64] = {}
    start = 0
    for name in sorted(shapes):
        count = prod(shapes[name])
        unit = _bound(name, bounds[name]) / _steps(n) * (total_weight / weight)
        mean = total[start : start + count].astype(np.float64) * unit
        result[name] = mean.reshape(shapes[name])
        start += count
    return result


def _steps(n: int) -> float:
    return float((1 << 31) - 1 - n)


def _bound(name: str, bound: float) -> float:
    if not isfinite(bound) or bound < 0:
        raise ValueError(f"the bound of tensor {name!r} must be finite and not negative")
    return float(bound)
