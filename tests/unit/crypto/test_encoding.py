"""Canonical CBOR: one encoding for each value, and nothing else is read."""

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgestalt.crypto.encoding import decode, encode
from fedgestalt.crypto.errors import EncodingError

VALUES = st.recursive(
    st.integers(0, 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=30) | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=30), inner, max_size=4),
    max_leaves=20,
)


def test_known_encodings_of_rfc_8949_appendix_a():
    known = {
        "00": 0,
        "17": 23,
        "1818": 24,
        "1903e8": 1000,
        "1a000f4240": 1000000,
        "1bffffffffffffffff": 2**64 - 1,
        "4401020304": b"\1\2\3\4",
        "62c3bc": "\u00fc",
        "83010203": [1, 2, 3],
        "a26161016162820203": {"a": 1, "b": [2, 3]},
        "f5": True,
        "f4": False,
    }
    for data, value in known.items():
        assert encode(value).hex() == data
        assert decode(bytes.fromhex(data), limit=100) == value


@given(VALUES)
@settings(max_examples=200)
def test_what_is_written_is_read_back(value):
    try:
        data = encode(value)
    except EncodingError:
        return  # nested too deeply
    assert decode(data, limit=len(data)) == value
    assert cbor2.loads(data) == value


@given(st.binary(max_size=60))
@settings(max_examples=500)
def test_whatever_is_read_is_the_canonical_encoding_of_it(data):
    try:
        value = decode(data, limit=60)
    except EncodingError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("1817", "shortest"),
        ("190017", "shortest"),
        ("1a0000ffff", "shortest"),
        ("1b00000000ffffffff", "shortest"),
        ("5817" + "00" * 23, "shortest"),
        ("a2616101616101", "doubled"),
        ("a2616201616101", "order"),
        ("a26262620161610" + "1", "order"),
        ("9f01ff", "indefinite"),
        ("5f4101ff", "indefinite"),
        ("20", "major type 1"),
        ("c074", "major type 6"),
        ("f97e00", "floats"),
        ("fb7ff8000000000000", "floats"),
        ("f6", "major type 7"),
        ("a10101", "key is not text"),
        ("61ff", "UTF-8"),
        ("0000", "follow"),
        ("4401", "end before"),
        ("9bffffffffffffffff", "end before"),
        ("bbffffffffffffffff", "end before"),
        ("", "end before"),
        ("81" * 12 + "00", "deeper"),
    ],
)
def test_other_encodings_are_refused(data, why):
    with pytest.raises(EncodingError, match=why):
        decode(bytes.fromhex(data), limit=100)


def test_the_limit_is_checked_first():
    with pytest.raises(EncodingError, match="limit"):
        decode(b"\xff" * 11, limit=10)


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, None, {1: 2}, {"a": {2}}, object()])
def test_other_values_cannot_be_encoded(value):
    with pytest.raises(EncodingError):
        encode(value)
