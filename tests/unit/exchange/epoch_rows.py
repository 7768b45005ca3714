"""Rows for the tests of epochs: a silo's upload, made of numbers that say what they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.rows import GalleryRows, SiloRows, TestRows, UndiagnosedRows

WIDTH = 24
PRINT = bytes(range(16))
EPOCH = "e0" * 32
RELEASE = "a1" * 32
#: Every silo's handles begin here.
FIRST = {"east": 1000, "north": 2000, "west": 3000}


def handle(number: int) -> bytes:
    return number.to_bytes(16, "big")


def table(numbers: Sequence[int]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(map(handle, numbers)), np.uint8).reshape(len(numbers), 16)


def unit(seed: int, n: int, width: int = WIDTH) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = np.random.default_rng(seed).standard_normal((n, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def upload(
    name: str,
    *,
    gallery: int = 20,
    test: int = 0,
    undiagnosed: int = 0,
    seed: int = 0,
    first: int = 0,
    width: int = WIDTH,
    fingerprint: bytes = PRINT,
) -> SiloRows:
    """Rows whose handles count from FIRST[name] + first; gallery row k has the token k % 7."""
    rows = unit(seed + FIRST[name], gallery + test + undiagnosed, width)
    names = table([FIRST[name] + first + k for k in range(len(rows))])
    ends = (gallery, gallery + test)
    ones = np.ones(gallery, np.uint32), np.ones(test, np.uint32)
    return SiloRows(
        fingerprint,
        1,
        GalleryRows(rows[: ends[0]], table([k % 7 for k in range(gallery)]), names[: ends[0]], ones[0]),
        TestRows(rows[ends[0] : ends[1]], names[ends[0] : ends[1]], ones[1]),
        UndiagnosedRows(rows[ends[1] :], names[ends[1] :]),
    )
