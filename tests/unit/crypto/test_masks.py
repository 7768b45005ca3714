"""Keystreams, masks and checksums."""

import tracemalloc

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgestalt.crypto.checksum import checksum
from fedgestalt.crypto.masks import BLOCK, Keystream, Mask, apply
from fedgestalt.crypto.ring import lift, to_ring


def zeros(size):
    return np.zeros(size, dtype=np.uint32), np.zeros(2, dtype=np.uint64)


def test_the_stream_is_aes_256_of_a_counter_from_zero():
    # FIPS 197, appendix C.3 has this key; SP 800-38A's counter mode is the encryption of the counter blocks.
    key = bytes(range(32))
    block = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    expected = block.update(bytes(16)) + block.update(bytes(15) + b"\1")
    buffer = bytearray(32)
    Keystream(key).into(memoryview(buffer))
    assert bytes(buffer) == expected
    known = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    assert known.update(bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == (
        "8ea2b7ca516745bfeafc49904b496089"
    )


@pytest.mark.parametrize("size", [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_the_mask_is_the_stream_whatever_the_blocks(size):
    vector, lanes = zeros(size)
    apply(vector, lanes, [Mask(b"k" * 32)])
    whole = (
        Cipher(algorithms.AES256(b"k" * 32), modes.CTR(bytes(16))).encryptor().update(bytes(4 * size + 16))
    )
    assert vector.tobytes() + lanes.tobytes() == whole


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50), st.integers(0, 5))
@settings(max_examples=50)
def test_what_is_added_can_be_taken_off(values, count):
    vector, lanes = np.array(values, dtype=np.uint32), np.array([7, 2**64 - 1], dtype=np.uint64)
    masks = [Mask(bytes([i]) * 32, 1 if i % 2 else -1) for i in range(count)]
    apply(vector, lanes, masks)
    if count:
        assert vector.tolist() != values or lanes.tolist() != [7, 2**64 - 1]
    apply(vector, lanes, [mask.inverse for mask in masks])
    assert vector.tolist() == values
    assert lanes.tolist() == [7, 2**64 - 1]


def test_masking_needs_no_second_vector():
    vector, lanes = zeros(32 * BLOCK)
    tracemalloc.start()
    apply(vector, lanes, [Mask(bytes([i]) * 32) for i in range(6)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 4 * BLOCK


def test_vectors_of_another_kind_are_refused():
    _, lanes = zeros(1)
    for vector in (np.zeros(4, np.int32), np.zeros((2, 2), np.uint32), np.zeros(8, np.uint32)[::2]):
        with pytest.raises(ValueError, match="uint32"):
            apply(vector, lanes, [])
    with pytest.raises(ValueError, match="lanes"):
        apply(np.zeros(1, np.uint32), np.zeros(2, np.uint32), [])
    with pytest.raises(ValueError, match="32 bytes"):
        Mask(b"short")


def test_the_lift_is_the_signed_representative():
    values = np.array([-(2**31), -1, 0, 1, 2**31 - 1])
    assert lift(to_ring(values)).tolist() == values.tolist()
    for wrong in (np.array([2**31]), np.array([-(2**31) - 1]), np.array([0.5])):
        with pytest.raises(ValueError, match=r"integers|outside"):
            to_ring(wrong)


KEYS = (b"a" * 32, b"b" * 32)


def test_the_checksum_is_the_dot_product_with_the_streams():
    vector = to_ring(np.array([3, -2, 2**31 - 1, -(2**31)]))
    for lane, key in enumerate(KEYS):
        coefficients = [int(word) for word in Keystream(key).words64(4)]
        expected = sum(a * x for a, x in zip(coefficients, lift(vector).tolist(), strict=True)) % 2**64
        assert int(checksum(vector, KEYS)[lane]) == expected


def test_checksums_add_up_over_blocks():
    generator = np.random.default_rng(1)
    parts = [generator.integers(-(2**28), 2**28, BLOCK + 3) for _ in range(4)]
    sums = np.zeros(2, dtype=np.uint64)
    for part in parts:
        sums += checksum(to_ring(part), KEYS)
    assert np.array_equal(checksum(to_ring(sum(parts)), KEYS), sums)


@pytest.mark.parametrize("change", [1, 1 << 31, 12345])
def test_a_changed_vector_has_another_checksum(change):
    vector = to_ring(np.arange(100) - 50)
    altered = vector.copy()
    altered[17] ^= np.uint32(change)
    assert not np.any(checksum(vector, KEYS) == checksum(altered, KEYS))
