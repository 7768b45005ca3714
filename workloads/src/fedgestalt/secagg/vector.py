"""Masked vectors and sums as bytes: 4 a value, little-endian, then the two 64-bit lanes of the checksum."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from fedgestalt.crypto.checksum import Checksum, checksum
from fedgestalt.crypto.masks import LANE_BYTES, Lanes, Mask, Masker, apply, blocks
from fedgestalt.crypto.ring import Ring, lift
from fedgestalt.secagg.context import blind_key, check_keys


def to_bytes(vector: Ring, lanes: Lanes) -> bytes:
    """The bytes that travel."""
    return b"".join([vector.astype("<u4", copy=False).tobytes(), lanes.astype("<u8", copy=False).tobytes()])


def from_bytes(data: bytes) -> tuple[Ring, Lanes]:
    """Fresh arrays of vector and lanes.

    Raises:
        ValueError: the length fits no vector.
    """
    if len(data) <= LANE_BYTES or len(data) % 4:
        raise ValueError(f"{len(data)} bytes are no vector with its checksum")
    vector = np.frombuffer(data, dtype="<u4", count=(len(data) - LANE_BYTES) // 4).astype(np.uint32)
    return vector, np.frombuffer(data[-LANE_BYTES:], dtype="<u8").astype(np.uint64)


def masked(vector: Ring, run_key: bytes, ctx: bytes, masks: Iterable[Mask]) -> bytes:
    """y_i in bytes: ``vector`` (uint32 [P], left as it is) with its checksum, under ``masks``.

    Checksum and masks go over a block while it is in the cache; beside the result no second vector is made.
    """
    masker, check, result = Masker(masks), Checksum(check_keys(run_key, ctx)), BytesIO()
    for part in blocks(vector.size):
        check.update(vector[part])
        block = vector[part].copy()
        masker.block(block)
        result.write(block.astype("<u4", copy=False).data)
    lanes = check.lanes()
    masker.lanes(lanes)
    result.write(lanes.astype("<u8", copy=False).data)
    return result.getvalue()


def opened(data: bytes, run_key: bytes, ctx: bytes, survivors: Iterable[str]) -> NDArray[np.int64] | None:
    """The signed sum (int64 [P]) of the survivors' vectors without their G_i; None if its checksum fails.

    Raises:
        ValueError: the length of ``data`` fits no vector.
    """
    total, lanes = from_bytes(data)
    apply(total, lanes, [Mask(blind_key(run_key, ctx, name), -1) for name in survivors])
    holds = np.array_equal(checksum(total, check_keys(run_key, ctx)), lanes)
    return lift(total) if holds else None
