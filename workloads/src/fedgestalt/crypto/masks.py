"""Masking: AES-256-CTR keystreams added to vectors modulo 2^32 and, behind the vector, to 64-bit lanes.

Each stream has a key of its own that is used once, so the counter starts at zero (NIST SP 800-38A,
section 6.5, asks that no counter block repeats under one key). Everything is done in place, block by
block: beside the vector itself the memory is one block of keystream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fedgestalt.crypto.ring import Ring

BLOCK: Final = 1 << 16
"""Values per block: 256 KiB of keystream, which stays in the second-level cache."""
LANES: Final = 2
"""64-bit words that follow the vector; they carry its checksum."""
LANE_BYTES: Final = 8 * LANES

Lanes = NDArray[np.uint64]
_ZEROS: Final = memoryview(bytes(4 * BLOCK))


class Keystream:
    """A cursor over one AES-256-CTR stream, as little-endian words; it only moves forward."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def into(self, buffer: memoryview) -> None:
        """Write the next bytes of the stream over ``buffer`` (at most one block: 256 KiB)."""
        self._cipher.update_into(_ZEROS[: len(buffer)], buffer)

    def words64(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` 64-bit words of the stream (at most 2^15)."""
        words = np.empty(count, dtype="<u8")
        self.into(words.data.cast("B"))
        return words.view(np.uint64)


@dataclass(frozen=True)
class Mask:
    """One stream that is added (sign +1) or subtracted (sign -1)."""

    key: bytes = field(repr=False)
    sign: int = 1

    def __post_init__(self) -> None:
        if len(self.key) != 32 or self.sign not in (1, -1):
            raise ValueError("a mask has a key of 32 bytes and a sign of +1 or -1")

    @property
    def inverse(self) -> Mask:
        """The mask that takes this one off."""
        return Mask(self.key, -self.sign)


class Masker:
    """Applies several masks to the consecutive blocks of one vector, then to its lanes."""

    def __init__(self, masks: Iterable[Mask]) -> None:
        self._streams = [(Keystream(mask.key), mask.sign) for mask in masks]
        self._buffer = np.empty(BLOCK, dtype="<u4")
        self._bytes = self._buffer.data.cast("B")

    def block(self, block: Ring) -> None:
        """Mask the next values in place: uint32, contiguous, at most 2^16 of them."""
        size = block.size
        words, raw = self._buffer[:size], self._bytes[: 4 * size]
        for stream, sign in self._streams:
            stream.into(raw)
            if sign > 0:
                np.add(block, words, out=block)
            else:
                np.subtract(block, words, out=block)

    def lanes(self, lanes: Lanes) -> None:
        """Mask the checksum in place: uint64 of shape [2], after the last block."""
        for stream, sign in self._streams:
            words = stream.words64(LANES)
            if sign > 0:
                np.add(lanes, words, out=lanes)
            else:
                np.subtract(lanes, words, out=lanes)


def blocks(size: int) -> Iterator[slice]:
    """The blocks of a vector of ``size`` values, in order."""
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))


def apply(vector: Ring, lanes: Lanes, masks: Iterable[Mask]) -> None:
    """Mask ``vector`` (uint32 [P], contiguous) and ``lanes`` (uint64 [2]) in place."""
    if vector.ndim != 1 or vector.dtype != np.uint32 or not vector.flags.c_contiguous:
        raise ValueError("a masked vector is one-dimensional, contiguous and uint32")
    if lanes.shape != (LANES,) or lanes.dtype != np.uint64:
        raise ValueError(f"lanes are uint64 of shape [{LANES}]")
    masker = Masker(masks)
    for part in blocks(vector.size):
        masker.block(vector[part])
    masker.lanes(lanes)
