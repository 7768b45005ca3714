"""Secret sharing over the prime 2^256 + 297."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgestalt.crypto.errors import ShareError
from fedgestalt.crypto.shamir import PRIME, SHARE_BYTES, combine, split

SEED = b"\x2a" * 32


def is_probable_prime(n):
    """Miller-Rabin with the first forty primes as bases."""
    bases = [p for p in range(2, 174) if all(p % q for q in range(2, p))]
    d, r = n - 1, 0
    while d % 2 == 0:
        d, r = d // 2, r + 1
    for base in bases:
        x = pow(base, d, n)
        if x in (1, n - 1):
            continue
        for _ in range(r - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def test_the_modulus_is_the_smallest_prime_above_2_to_the_256():
    assert is_probable_prime(PRIME)
    assert not any(is_probable_prime((1 << 256) + k) for k in range(1, 297, 2))


@given(st.binary(min_size=32, max_size=32), st.integers(1, 8), st.integers(0, 4))
@settings(max_examples=40)
def test_any_threshold_of_shares_restores_the_secret(secret, threshold, more):
    holders = threshold + more
    shares = split(secret, threshold=threshold, holders=holders, seed=SEED)
    assert {len(share) for share in shares} == {SHARE_BYTES}
    for chosen in list(combinations(range(holders), threshold))[:20]:
        assert combine({k + 1: shares[k] for k in chosen}, threshold=threshold) == secret
    assert combine({k + 1: share for k, share in enumerate(shares)}, threshold=threshold) == secret


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_the_extremes_of_32_bytes_are_secrets_too(secret):
    shares = split(secret, threshold=3, holders=4, seed=SEED)
    assert combine({1: shares[0], 2: shares[1], 4: shares[3]}, threshold=3) == secret


def test_one_share_less_fits_every_secret():
    # For any two shares and any secret there is a quadratic through all three: perfect secrecy.
    shares = split(b"\1" * 32, threshold=3, holders=4, seed=SEED)
    with pytest.raises(ShareError, match="2 of 3"):
        combine({1: shares[0], 2: shares[1]}, threshold=3)
    other = int.from_bytes(b"\2" * 32, "big")
    first, second = (int.from_bytes(share, "big") for share in shares[:2])
    # Lagrange through (0, other), (1, first), (2, second) at 3.
    third = (other - 3 * first + 3 * second) % PRIME
    forged = {1: shares[0], 2: shares[1], 3: third.to_bytes(33, "big")}
    assert combine(forged, threshold=3) == b"\2" * 32


def test_a_wrong_share_among_enough_is_noticed():
    shares = split(b"\1" * 32, threshold=3, holders=5, seed=SEED)
    points = {k + 1: share for k, share in enumerate(shares)}
    points[5] = bytes(33)
    with pytest.raises(ShareError, match="one polynomial"):
        combine(points, threshold=3)


def test_malformed_shares_and_counts_are_refused():
    shares = split(b"\1" * 32, threshold=1, holders=1, seed=SEED)
    for wrong in (shares[0][:-1], b"\xff" * 33, b""):
        with pytest.raises(ShareError, match="field"):
            combine({1: wrong}, threshold=1)
    with pytest.raises(ShareError, match="field"):
        combine({0: shares[0]}, threshold=1)
    for secret, threshold, holders, seed in (
        (b"short", 1, 1, SEED),
        (b"\1" * 32, 0, 1, SEED),
        (b"\1" * 32, 2, 1, SEED),
        (b"\1" * 32, 1, 1, b""),
    ):
        with pytest.raises(ShareError):
            split(secret, threshold=threshold, holders=holders, seed=seed)


def test_the_same_seed_deals_the_same_shares_and_another_one_others():
    one, same = (split(b"\1" * 32, threshold=3, holders=4, seed=SEED) for _ in range(2))
    other = split(b"\1" * 32, threshold=3, holders=4, seed=b"\3" * 32)
    assert one == same
    assert not set(one) & set(other)
