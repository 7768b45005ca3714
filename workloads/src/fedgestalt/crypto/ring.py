"""The ring of integers modulo 2^32, in which updates are masked and added, and its lift to signed numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.uint32]


def to_ring(values: NDArray[Any]) -> Ring:
    """Reduce integers in [-2^31, 2^31) to their representatives modulo 2^32 (any shape, dtype uint32).

    Raises:
        ValueError: the values are not integers or lie outside the range in which the lift is exact.
    """
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"ring elements are integers, not {values.dtype}")
    if values.size and (int(values.min()) < -(1 << 31) or int(values.max()) >= 1 << 31):
        raise ValueError("a value lies outside [-2^31, 2^31), where the lift back would be wrong")
    return values.astype(np.int32).view(np.uint32)


def lift(vector: Ring) -> NDArray[np.int64]:
    """The signed representatives of ``vector`` in [-2^31, 2^31), as int64."""
    return vector.view(np.int32).astype(np.int64)
