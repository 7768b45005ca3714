"""Shamir's secret sharing (Communications of the ACM 22(11), 1979) of 32-byte secrets.

The field is that of the prime 2^256 + 297, the smallest above 2^256, so every 32-byte secret is an element. A
share is 33 bytes whatever its value. Evaluation points are 1, 2, ... by the holder's place in the roster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fedgestalt.crypto.errors import ShareError
from fedgestalt.crypto.keys import derive

PRIME: Final = (1 << 256) + 297
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 33
_WIDE_BYTES: Final = 64


def split(secret: bytes, *, threshold: int, holders: int, seed: bytes) -> tuple[bytes, ...]:
    """Share ``secret`` among ``holders``, any ``threshold`` of whom can restore it.

    Args:
        secret: 32 bytes.
        threshold: 1 to ``holders``.
        holders: number of shares; the k-th (from 0) belongs to the point k + 1.
        seed: 32 fresh secret bytes for the polynomial, so that a restart deals the same shares.

    Returns:
        ``holders`` shares of 33 bytes.

    Raises:
        ShareError: lengths or counts are out of range.
    """
    if len(secret) != SECRET_BYTES or len(seed) != SECRET_BYTES or not 1 <= threshold <= holders:
        raise ShareError("a secret and a seed have 32 bytes, and a threshold lies between 1 and the holders")
    polynomial = [int.from_bytes(secret, "big")]
    for power in range(1, threshold):
        # 512 bits reduced modulo a 257-bit prime: within 2^-255 of uniform.
        wide = derive(seed, salt=b"", purpose="shamir", extra=power.to_bytes(4, "big"), length=_WIDE_BYTES)
        polynomial.append(int.from_bytes(wide, "big") % PRIME)
    return tuple(_evaluate(polynomial, x).to_bytes(SHARE_BYTES, "big") for x in range(1, holders + 1))


def combine(shares: Mapping[int, bytes], *, threshold: int) -> bytes:
    """Restore the secret from shares by their points (from 1).

    Uses the ``threshold`` smallest points and checks that all further shares lie on the same polynomial.

    Raises:
        ShareError: too few shares, a malformed one, or shares that do not belong together.
    """
    if len(shares) < threshold:
        raise ShareError(f"{len(shares)} of {threshold} shares are there")
    points: dict[int, int] = {}
    for x, share in sorted(shares.items()):
        value = int.from_bytes(share, "big")
        if len(share) != SHARE_BYTES or value >= PRIME or not 1 <= x < PRIME:
            raise ShareError(f"share {x} is no element of the field")
        points[x] = value
    base = dict(list(points.items())[:threshold])
    if any(_interpolate(base, x) != value for x, value in points.items() if x not in base):
        raise ShareError("the shares do not lie on one polynomial: at least one of them is wrong")
    secret = _interpolate(base, 0)
    if secret >> (8 * SECRET_BYTES):
        raise ShareError("the shares do not belong to a 32-byte secret")
    return secret.to_bytes(SECRET_BYTES, "big")


def _evaluate(polynomial: list[int], x: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * x + coefficient) % PRIME
    return value


def _interpolate(points: Mapping[int, int], at: int) -> int:
    """Lagrange's formula at ``at``."""
    total = 0
    for x, value in points.items():
        above = below = 1
        for other in points:
            if other != x:
                above = above * (at - other) % PRIME
                below = below * (x - other) % PRIME
        total = (total + value * above * pow(below, -1, PRIME)) % PRIME
    return total
