"""A reproducible stream of standard normal numbers from a key.

AES-256 in counter mode is the generator (NIST SP 800-38A section 6.5, initial counter zero; the key is used
for one stream only, so a fixed counter is safe). The recipe is fixed, because every silo of an epoch has to
draw the same numbers:

1. the key stream is read as little-endian 64-bit words;
2. a word w becomes the uniform number ((w >> 11) + 1) 2^-53 in (0, 1], without rounding;
3. words 2i and 2i + 1 give the normal numbers 2i and 2i + 1 by the Box-Muller transform
   sqrt(-2 ln u) cos(2 pi v), sqrt(-2 ln u) sin(2 pi v).

Steps 1 and 2 are the same bits on every machine. Step 3 goes through the platform's log, cos and sin, which
may differ in the last place. Nothing here branches on a value (rejection sampling would), so such a
difference stays a difference in the last place.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

KEY_BYTES: Final = 32
_ZERO_COUNTER: Final = bytes(16)


class NormalStream:
    """Standard normal float64 numbers from a 32-byte key that is used for nothing else."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key of a normal stream has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = Cipher(algorithms.AES256(key), modes.CTR(_ZERO_COUNTER)).encryptor()

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Return the next `count` numbers of (0, 1], float64."""
        words = np.frombuffer(self._cipher.update(bytes(8 * count)), dtype="<u8")
        return ((words >> np.uint64(11)) + np.uint64(1)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> NDArray[np.float64]:
        """Return the next `count` standard normal numbers, float64; `count` is even."""
        if count % 2:
            raise ValueError(f"normal numbers come in pairs; {count} is odd")
        pairs = self.uniform(count).reshape(-1, 2)
        radius = np.sqrt(-2.0 * np.log(pairs[:, 0]))
        angle = (2.0 * np.pi) * pairs[:, 1]
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
