"""FLAKE's secret isometry.

FLAKE masks rows X as X L (N N^T)^(1/2) with a secret random N and any left inverse L of it. With the singular
value decomposition N = U S V^T this is X V U^T whichever left inverse is taken: a random isometry. The frame
is that isometry in its clean form, the Q factor (positive diagonal) of the QR decomposition of a Gaussian
matrix, distributed by Haar's measure.

The Gaussian matrix is never decomposed and Q is never formed. G. W. Stewart (SIAM J. Numer. Anal. 17, 1980,
theorem 3.3) showed that the Householder vectors of that decomposition are themselves independent Gaussian
vectors of falling length, so they are drawn directly. They are drawn and applied in panels (the compact WY
form, I - U T U^T), which costs 2 rows width^2 additions and multiplications and a few megabytes, against
(8/3) width^3 and 8 width^2 bytes for a decomposition. A silo that holds the key therefore has nothing large
and secret to keep on disk.

What the frame does not hide: the inner products (it is meant to keep them), the number of features (the rank
of the masked rows), and, from anyone who knows as many independent rows as there are features, everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from numpy.typing import NDArray

from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.stream import KEY_BYTES, NormalStream

#: Householder vectors that are drawn and applied together. A part of the protocol: another number reads the
#: stream in another order and gives another frame.
PANEL: Final = 64
#: Largest width that a frame may have; the paper's embedding has 6,144 numbers.
MAX_WIDTH: Final = 1 << 16
FINGERPRINT_BYTES: Final = 16


class _Panel(NamedTuple):
    first: int  # index of the first of this panel's Householder vectors
    vectors: NDArray[np.float64]  # U: unit vectors as columns, [width - first, count]
    factor: NDArray[np.float64]  # T: upper triangular, [count, count]
    signs: NDArray[np.float64]  # the signs that make the diagonal of R positive, [count]


class Frame:
    """A secret isometry from `dim` to `width` numbers, derived from a key. Make it with `Frame.derive`."""

    __slots__ = ("_key", "dim", "fingerprint", "width")

    def __init__(self, key: bytes, dim: int, width: int) -> None:
        self._key = _subkey(key, b"stream", dim, width)
        self.dim = dim
        self.width = width
        #: Public, 16 bytes: equal for equal key, dim and width; says nothing about the key. Rows carry it, so
        #: that rows of different frames are refused instead of being compared with chance as the result.
        self.fingerprint = _subkey(key, b"fingerprint", dim, width)[:FINGERPRINT_BYTES]

    @classmethod
    def derive(cls, key: bytes, dim: int, width: int | None = None) -> Frame:
        """Derive the frame of an epoch.

        Args:
            key: 32 secret bytes, the frame's own subkey of K_epoch.
            dim: numbers of an embedding.
            width: numbers of a masked row, at least `dim`; `dim` if left out.

        Raises:
            FlakeError: a key of another length, or sizes that no frame has.
        """
        if len(key) != KEY_BYTES:
            raise FlakeError(f"the frame's key has {KEY_BYTES} bytes, not {len(key)}")
        width = dim if width is None else width
        if not 1 <= dim <= width <= MAX_WIDTH:
            raise FlakeError(f"a frame needs 1 <= dim <= width <= {MAX_WIDTH}, not dim {dim}, width {width}")
        return cls(key, dim, width)

    def __repr__(self) -> str:
        return f"Frame(dim={self.dim}, width={self.width}, fingerprint={self.fingerprint.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a frame is a secret: derive it from its key where it is needed, do not pickle it")

    def apply(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rows Q, [n, width] float64, for float64 rows of shape [n, dim], of any length.

        The rows of patients go through `mask.rotate`, which checks them first.
        """
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise FlakeError(f"rows of shape {rows.shape} do not fit a frame of dimension {self.dim}")
        # Column-major, so that the trailing columns each panel works on are contiguous.
        out = np.zeros((rows.shape[0], self.width), dtype=np.float64, order="F")
        out[:, : self.dim] = rows
        for panel in self._panels():
            tail = out[:, panel.first :]
            tail[:, : len(panel.signs)] *= panel.signs
            tail -= ((tail @ panel.vectors) @ panel.factor.T) @ panel.vectors.T
        return np.ascontiguousarray(out)

    def matrix(self) -> NDArray[np.float64]:
        """Return Q itself, [dim, width] float64, with Q Q^T = I.

        For a service that rotates one row at a time and can keep 8 dim width bytes in memory.
        """
        return self.apply(np.eye(self.dim))

    def _panels(self) -> Iterator[_Panel]:
        """Yield the panels from the shortest vectors to the longest, the order in which a row meets them."""
        stream = NormalStream(self._key)
        for first in range(((self.dim - 1) // PANEL) * PANEL, -1, -PANEL):
            count = min(PANEL, self.dim - first)
            length = self.width - first
            even = length + length % 2
            drawn = stream.normal(count * even).reshape(count, even)[:, :length].T
            vectors = np.tril(drawn)  # vector j begins at its own pivot, row j of the panel
            pivots = np.diagonal(vectors).copy()
            signs = np.where(pivots < 0.0, 1.0, -1.0)
            norms = np.sqrt(np.einsum("ij,ij->j", vectors, vectors))
            index = np.arange(count)
            vectors[index, index] = pivots - signs * norms  # no cancellation: both terms have one sign
            vectors /= np.sqrt(np.einsum("ij,ij->j", vectors, vectors))
            # H_1 ... H_count = I - U T U^T with T^-1 = striu(U^T U) + I / 2 for unit vectors.
            inverse = np.triu(vectors.T @ vectors, 1) + np.eye(count) / 2.0
            factor = np.linalg.solve(inverse, np.eye(count)).astype(np.float64, copy=False)
            yield _Panel(first, vectors, factor, signs)


def _subkey(key: bytes, purpose: bytes, dim: int, width: int) -> bytes:
    info = b"fedgestalt/flake/frame/v1/%s/%d/%d" % (purpose, dim, width)
    return HKDFExpand(SHA256(), KEY_BYTES, info).derive(key)
