"""A few numbers per row from which every inner product is known within a bound that is proven.

Photos of faces fill few of an ensemble's directions: in a demonstration's gallery the 256 leading directions of 2,048
leave a part of median length 0.15 of a row. With an orthonormal basis B, x = B c + r and q = B d + s, the parts r and s
are orthogonal to B, so x.q = c.d + r.s, and |r.s| <= |r| |s| (Cauchy and Schwarz). Whatever the data, the bound holds;
where they have no such directions it is merely of no use.

The directions are those of the masked rows. They are the hub's own arithmetic on what it holds, and leave with nothing.
"""

from __future__ import annotations

from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.mask import UNIT_TOLERANCE

_BLOCK_BYTES: Final = 1 << 25
# What float64 loses: in products (rounding, deviations from orthonormality), and in the square of what is left out,
# a difference of two sums of up to 65,536 terms.
_SLACK: Final = 1e-9
_CANCELLATION: Final = 1e-11
UNIT_ROUNDOFF: Final = 2.0**-24  # of float32


def product_error(size: int) -> float:
    """Bound the error of a float32 inner product of two rows of length one that are given in float64.

    Any order of summation stays within gamma = n u / (1 - n u) of the sum of absolute products (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1), which is at most the product of the lengths. Of the roundings
    counted here two are those of the conversions, the others those of adding and subtracting the bound.
    """
    roundings = (size + 6) * UNIT_ROUNDOFF
    return roundings / (1.0 - roundings) * (1.0 + UNIT_TOLERANCE) ** 2


class Sketch:
    """An orthonormal basis [width, size] of the leading directions of a gallery; make it with `Sketch.fit`."""

    def __init__(self, basis: NDArray[np.float64]) -> None:
        self._basis = basis
        self.size = int(basis.shape[1])
        #: To be added to |r| |s|: what float32 does to the product of the coordinates.
        self.error = product_error(self.size) + _SLACK

    @classmethod
    def fit(cls, sample: NDArray[np.float64], size: int) -> Self:
        """Take the leading directions of some rows [n, width]; at least as many rows as directions."""
        _, vectors = np.linalg.eigh(sample @ sample.T)
        leading = sample.T @ vectors[:, ::-1][:, :size]
        basis, _ = np.linalg.qr(leading)  # orthonormal to the last place, of whatever rank the sample is
        return cls(np.ascontiguousarray(basis, dtype=np.float64))

    def project(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the coordinates [n, size] of rows and the lengths [n], rounded up, of what they leave out."""
        coordinates = np.empty((len(rows), self.size), dtype=np.float32)
        rest = np.empty(len(rows), dtype=np.float32)
        step = max(1, _BLOCK_BYTES // (8 * rows.shape[1]))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            here = slice(start, start + len(block))
            exact = block @ self._basis
            squares = np.einsum("ij,ij->i", block, block) - np.einsum("ij,ij->i", exact, exact)
            coordinates[here] = exact
            rest[here] = np.sqrt(np.maximum(squares, 0.0) + _CANCELLATION) * (1.0 + 4.0 * UNIT_ROUNDOFF)
        return coordinates, rest
