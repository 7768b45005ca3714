"""What a silo uploads to the kernel: masked rows, label tokens, opaque handles, splits. Nothing else.

Three classes of rows, all masked by the same frame:

- gallery rows carry the token of their syndrome and the splits in which they are gallery;
- test rows carry the splits in which they are tests and no token: only their owner can score them;
- undiagnosed rows carry neither, and take part in no evaluation.

What the hub learns beside inner products: how many rows each class, token and split has, and, because a
rotating photo is gallery in some splits and test in others, which test row is which gallery row. The missing
token of a test row therefore keeps a diagnosis from the hub only for photos with a fixed role.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.codec import ArraySpec, decode, encode
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.frame import FINGERPRINT_BYTES, MAX_WIDTH
from fedgestalt.flake.mask import UNIT_TOLERANCE
from fedgestalt.flake.membership import every_split
from fedgestalt.flake.tokens import TOKEN_BYTES

KIND: Final = "flake-rows/v1"
_CHECK_BYTES: Final = 1 << 24  # the length check goes through the rows by pieces of this size


@dataclass(frozen=True)
class RowLimits:
    """The most that one silo may upload; the defaults are far above the paper's 7,457 photos."""

    rows: int = 200_000
    width: int = MAX_WIDTH
    bytes: int = 16 << 30


@dataclass(frozen=True)
class GalleryRows:
    """Diagnosed cases: rows [n, width] float64, tokens and handles [n, 16] uint8, splits uint32 [n]."""

    rows: NDArray[np.float64]
    tokens: NDArray[np.uint8]
    handles: NDArray[np.uint8]
    splits: NDArray[np.uint32]


@dataclass(frozen=True)
class TestRows:
    """Cases to be ranked: rows [n, width] float64, handles [n, 16] uint8, splits uint32 [n]."""

    __test__ = False  # not a test class, whatever its name says to pytest

    rows: NDArray[np.float64]
    handles: NDArray[np.uint8]
    splits: NDArray[np.uint32]


@dataclass(frozen=True)
class UndiagnosedRows:
    """Cases without a diagnosis: rows [n, width] float64, handles [n, 16] uint8."""

    rows: NDArray[np.float64]
    handles: NDArray[np.uint8]


@dataclass(frozen=True)
class SiloRows:
    """The rows of one silo.

    Attributes:
        fingerprint: `Frame.fingerprint` of the frame that masked the rows, 16 bytes.
        splits: the number S of numbered splits, 1..32.
    """

    fingerprint: bytes
    splits: int
    gallery: GalleryRows
    test: TestRows
    undiagnosed: UndiagnosedRows

    def __post_init__(self) -> None:
        everything = every_split(self.splits)
        if len(self.fingerprint) != FINGERPRINT_BYTES:
            raise FlakeError(f"the frame's fingerprint has {FINGERPRINT_BYTES} bytes")
        for name in ("gallery", "test", "undiagnosed"):
            part: GalleryRows | TestRows | UndiagnosedRows = getattr(self, name)
            _check(name, part.rows, np.float64, (len(part.rows), self.width))
            _check(f"{name} handles", part.handles, np.uint8, (len(part.rows), TOKEN_BYTES))
            if len(np.unique(part.handles, axis=0)) != len(part.rows):
                raise FlakeError(f"{name}: a handle names two rows; give each photo its own handle")
            if not isinstance(part, UndiagnosedRows):
                _check(f"{name} splits", part.splits, np.uint32, (len(part.rows),))
                if np.any((part.splits == 0) | (part.splits > everything)):
                    raise FlakeError(f"{name}: a row belongs to no split or to one beyond {self.splits}")
        _check("gallery tokens", self.gallery.tokens, np.uint8, (len(self.gallery.rows), TOKEN_BYTES))

    @property
    def width(self) -> int:
        """Numbers of a masked row."""
        return int(self.gallery.rows.shape[1]) if self.gallery.rows.ndim == 2 else 0

    @property
    def count(self) -> int:
        """Rows of all classes: what this upload takes from the silo's budget of the epoch."""
        return len(self.gallery.rows) + len(self.test.rows) + len(self.undiagnosed.rows)

    def check_lengths(self) -> None:
        """Refuse rows that are not of length one: a longer one would win every comparison.

        Masking keeps lengths, so the hub can check this although it cannot read the rows.

        Raises:
            FlakeError: a row with another length (tolerance 1e-6), NaN or infinity.
        """
        step = max(1, _CHECK_BYTES // (8 * self.width))
        for name in ("gallery", "test", "undiagnosed"):
            rows = getattr(self, name).rows
            for start in range(0, len(rows), step):
                block = np.ascontiguousarray(rows[start : start + step])
                lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
                bad = np.flatnonzero(~(np.abs(lengths - 1.0) <= UNIT_TOLERANCE))
                if bad.size:
                    raise FlakeError(
                        f"{name} row {start + int(bad[0])} is not of length one within {UNIT_TOLERANCE}; "
                        "mask unit embeddings with `rotate`"
                    )

    def encode(self) -> bytes:
        """Return the deterministic bytes of this upload."""
        return encode(
            KIND,
            {"fingerprint": self.fingerprint, "splits": self.splits},
            {
                "gallery_rows": self.gallery.rows,
                "test_rows": self.test.rows,
                "undiagnosed_rows": self.undiagnosed.rows,
                "gallery_splits": self.gallery.splits,
                "test_splits": self.test.splits,
                "gallery_tokens": self.gallery.tokens,
                "gallery_handles": self.gallery.handles,
                "test_handles": self.test.handles,
                "undiagnosed_handles": self.undiagnosed.handles,
            },
        )

    @classmethod
    def decode(cls, blob: bytes | memoryview, limits: RowLimits | None = None) -> Self:
        """Read an untrusted upload; the rows are views of `blob`.

        Raises:
            FlakeError: anything that is not a well-formed upload within the limits.
        """
        limits = limits or RowLimits()
        if len(blob) > limits.bytes:
            raise FlakeError(f"the upload has {len(blob)} bytes; the limit is {limits.bytes}")
        rows, width = limits.rows, limits.width
        meta, arrays = decode(
            blob,
            KIND,
            {"fingerprint": bytes, "splits": int},
            [
                *(ArraySpec(f"{c}_rows", "<f8", (rows, width)) for c in ("gallery", "test", "undiagnosed")),
                *(ArraySpec(f"{c}_splits", "<u4", (rows,)) for c in ("gallery", "test")),
                ArraySpec("gallery_tokens", "|u1", (rows, TOKEN_BYTES)),
                *(
                    ArraySpec(f"{c}_handles", "|u1", (rows, TOKEN_BYTES))
                    for c in ("gallery", "test", "undiagnosed")
                ),
            ],
        )
        found = cls(
            meta["fingerprint"],
            meta["splits"],
            GalleryRows(
                arrays["gallery_rows"],
                arrays["gallery_tokens"],
                arrays["gallery_handles"],
                arrays["gallery_splits"],
            ),
            TestRows(arrays["test_rows"], arrays["test_handles"], arrays["test_splits"]),
            UndiagnosedRows(arrays["undiagnosed_rows"], arrays["undiagnosed_handles"]),
        )
        if found.count > rows:
            raise FlakeError(f"the upload has {found.count} rows; the limit is {rows}")
        return found


def _check(name: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape or 0 in shape[1:]:
        raise FlakeError(
            f"{name}: expected {np.dtype(dtype)} {list(shape)}, not {array.dtype} {list(array.shape)}"
        )
