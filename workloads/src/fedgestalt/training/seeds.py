"""Where randomness comes from. Local seeds are the site's secret; the start of a model is common."""

import hashlib
import hmac
from typing import Final

import numpy as np

MIN_SECRET: Final = 16
"""Least bytes of a site's secret."""
_LOCAL = b"fedgestalt local training seed v1\0"
_START = b"fedgestalt model start seed v1\0"


def round_seed(site_secret: bytes, roster_hash: bytes, member: str, t: int) -> bytes:
    """32 bytes from which everything random of a silo's communication round follows.

    Bound to the roster, so that the same update is never computed for two rosters: two sums that differ by
    one silo would otherwise reveal it. Bound to a site secret, so that nobody else can repeat the computation.

    Raises:
        ValueError: for a secret shorter than 16 bytes.
    """
    if len(site_secret) < MIN_SECRET:
        raise ValueError(
            "the site's seed has fewer than 16 bytes: write at least 16 random bytes into its file"
        )
    message = (
        _LOCAL + len(roster_hash).to_bytes(2, "big") + roster_hash + t.to_bytes(4, "big") + member.encode()
    )
    return hmac.digest(site_secret, message, "sha256")


def start_seed(public_seed: bytes, member: str) -> bytes:
    """32 bytes from which every silo derives the same head, and the same network without given weights."""
    return hashlib.sha256(
        _START + len(public_seed).to_bytes(2, "big") + public_seed + member.encode()
    ).digest()


def generator(seed: bytes) -> np.random.Generator:
    """A NumPy generator (Philox) whose stream is a function of `seed` alone, on every machine."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(int.from_bytes(seed, "big"))))
