"""Message 0 as the protocol reads it."""

import hashlib
import json

import pytest

from fedgestalt.secagg.computation import Computation, need, quorum
from fedgestalt.secagg.errors import ComputationError


def document(**changes):
    silos = {name: bytes([i] * 32).hex() for i, name in enumerate(("a", "b", "c", "d"))}
    base = {"round": "uid", "newEpoch": True, "silos": silos, "spec": {"quorum": {"minSilos": 3}, "more": 1}}
    return {**base, **changes}


def parse(**changes):
    return Computation.parse(json.dumps(document(**changes)).encode())


def test_quorums_of_the_reference():
    assert {n: quorum(n) for n in (3, 4, 5, 6, 7, 16)} == {3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 16: 11}
    assert need(7, 6) == 6
    assert need(7, 3) == 5


def test_any_two_quorums_overlap_in_more_than_a_third():
    assert all(3 * (2 * quorum(n) - n) > n for n in range(3, 129))


def test_it_is_read_and_named_by_its_digest():
    data = json.dumps(document()).encode()
    computation = Computation.parse(data)
    assert computation.digest == hashlib.sha256(data).digest()
    assert (computation.round, computation.min_silos, computation.new_epoch) == ("uid", 3, True)
    assert computation.silos["b"] == b"\1" * 32
    assert computation.need == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"round": 7},
        {"newEpoch": 1},
        {"silos": []},
        {"silos": {"a": "00" * 32, "b": "11" * 32}},
        {"silos": {"a": "00" * 32, "b": "00" * 32, "c": "11" * 32}},
        {"silos": {"a": "00" * 31, "b": "11" * 32, "c": "22" * 32}},
        {"silos": {"A": "00" * 32, "b": "11" * 32, "c": "22" * 32}},
        {"silos": {"hub": "00" * 32, "b": "11" * 32, "c": "22" * 32}},
        {"silos": {"a": 1, "b": "11" * 32, "c": "22" * 32}},
        {"spec": {}},
        {"spec": {"quorum": {"minSilos": 2}}},
        {"spec": {"quorum": {"minSilos": 5}}},
        {"spec": {"quorum": {"minSilos": "3"}}},
    ],
)
def test_what_breaks_a_rule_is_refused(changes):
    with pytest.raises(ComputationError):
        parse(**changes)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"round": "a", "round": "b"}', b"[" * 100_000, b" " * (1 << 21)]
)
def test_other_bytes_are_refused(data):
    with pytest.raises(ComputationError):
        Computation.parse(data)
