"""A linear checksum of vectors under a secret key: the sum of checksums is the checksum of the sum.

c = sum_k a_k x_k mod 2^64 in two lanes, a_k uniform 64-bit words of a keystream and x_k signed in
[-2^31, 2^31). Whoever does not know the key changes the sum by a vector e != 0 unnoticed with
probability at most 2^-33 a lane: some e_k is 2^v times an odd number with v <= 31, and a_k e_k then
takes 2^(64-v) values equally often. That needs the lift to [-2^31, 2^31) and a modulus well above it;
modulo 2^32 an e_k = 2^31 would pass half of the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedgestalt.crypto.masks import BLOCK, LANES, Keystream, Lanes
from fedgestalt.crypto.ring import Ring


class Checksum:
    """Absorbs the consecutive blocks of a vector; one key of 32 bytes a lane."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        if len(keys) != LANES or any(len(key) != 32 for key in keys):
            raise ValueError(f"a checksum has {LANES} keys of 32 bytes")
        self._streams = [Keystream(key) for key in keys]
        self._half = BLOCK // 2
        self._words = np.empty(self._half, dtype="<u8")
        self._bytes = self._words.data.cast("B")
        self._sums = np.zeros(LANES, dtype=np.uint64)

    def update(self, values: Ring) -> None:
        """Absorb the next values (uint32, contiguous, any number)."""
        for start in range(0, values.size, self._half):
            part = values[start : start + self._half]
            # Sign extension, then the same bits as unsigned: products and sums wrap modulo 2^64 as they
            # should.
            wide: NDArray[np.uint64] = part.view(np.int32).astype(np.int64).view(np.uint64)
            coefficients = self._words[: part.size]
            for lane, stream in enumerate(self._streams):
                stream.into(self._bytes[: 8 * part.size])
                # As arrays, because NumPy warns when a scalar wraps.
                self._sums[lane : lane + 1] += np.dot(coefficients, wide)

    def lanes(self) -> Lanes:
        """The checksum of what was absorbed: uint64 of shape [2]."""
        return self._sums.copy()


def checksum(vector: Ring, keys: tuple[bytes, ...]) -> Lanes:
    """The checksum of a whole vector (uint32 [P]): uint64 of shape [2]."""
    state = Checksum(keys)
    state.update(vector)
    return state.lanes()
