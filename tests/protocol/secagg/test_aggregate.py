"""The aggregation job: stateless, streaming, and clear about what is missing."""

import hashlib
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from fedgestalt.crypto.errors import SignatureError
from fedgestalt.secagg.aggregate import Coordinates, aggregate
from fedgestalt.secagg.errors import AggregateError
from fedgestalt.secagg.kinds import Kind
from fedgestalt.secagg.messages import Slot, sign

AT = ("r50", 1, 1)


def ready(make_federation, n=4, lost=None, **kwargs):
    """A federation whose survivors have revealed what the job needs."""
    federation = make_federation(n, **kwargs)
    assert federation.enrol()
    if lost:
        federation.silos[lost].die = (Kind.MASKED, "before")
    for gathered, decision in (
        (Kind.KEYS, Kind.KEYSET),
        (Kind.SHARES, Kind.SENDERS),
        (Kind.MASKED, Kind.SURVIVORS),
    ):
        federation.pump()
        federation.decide(decision, {"silos": sorted(federation.posted(gathered, AT))}, AT)
    return federation


def without(federation, *senders_of):
    federation.board.messages[:] = [
        m for m in federation.board.messages if (m.slot.kind, m.slot.sender) not in senders_of
    ]


def test_the_same_board_gives_the_same_blob_whatever_its_order(make_federation):
    federation = ready(make_federation)
    first = federation.aggregate(AT)
    federation.board.messages.reverse()
    assert federation.aggregate(AT) == first
    assert len(first) == 4 * federation.size + 16


def test_blobs_may_be_files(make_federation, tmp_path):
    federation = ready(make_federation, size=70_000)
    expected = federation.aggregate(AT)
    for digest, data in federation.board.blobs.items():
        (tmp_path / digest).write_bytes(data)
    federation.board.blobs = {digest: tmp_path / digest for digest in federation.board.blobs}
    assert federation.aggregate(AT) == expected


def test_memory_does_not_grow_with_the_silos(make_federation, tmp_path):
    size = 500_000
    federation = ready(make_federation, 7, size=size)
    for digest, data in federation.board.blobs.items():
        (tmp_path / digest).write_bytes(data)
    tracemalloc.start()
    aggregate(
        federation.board.messages,
        lambda digest: tmp_path / digest,
        Coordinates(1, *AT),
        computation=federation.computation,
        hub_key=federation.hub_key.public,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The accumulator, its bytes, their concatenation with the lanes; and blocks.
    assert peak < 3 * 4 * size + 3_000_000


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ([(Kind.KEYSET, "hub")], "no keyset"),
        ([(Kind.SENDERS, "hub")], "no senders"),
        ([(Kind.SURVIVORS, "hub")], "no survivors"),
        ([(Kind.ROSTER, "hub")], "no roster"),
        ([(Kind.ENROL, "berlin")], "did not enrol"),
        ([(Kind.KEYS, "berlin")], "berlin of the roster posted no keys"),
        ([(Kind.MASKED, "berlin")], "berlin of the roster posted no masked"),
        ([(Kind.ACCEPT, "berlin"), (Kind.ACCEPT, "coburg")], "2 of 3 survivors accepted"),
        ([(Kind.REVEAL, "berlin"), (Kind.REVEAL, "coburg")], "self mask of aachen.*2 of 3"),
    ],
)
def test_what_is_missing_is_named(make_federation, missing, why):
    federation = ready(make_federation)
    without(federation, *missing)
    with pytest.raises(AggregateError, match=why):
        federation.aggregate(AT)


def test_a_missing_pair_seed_is_named(make_federation):
    federation = ready(make_federation, 7, lost="fulda")
    without(federation, (Kind.REVEAL, "berlin"))
    with pytest.raises(AggregateError, match="berlin did not reveal the seed that it shares with fulda"):
        federation.aggregate(AT)


def resign(federation, name, kind, change):
    """Replace a silo's message by one that the silo itself signed, with another body."""
    messages = federation.board.messages
    (place,) = [i for i, m in enumerate(messages) if (m.slot.kind, m.slot.sender) == (kind, name)]
    key = federation.silos[name].session._secrets.signing
    messages[place] = sign(
        messages[place].slot, change(dict(messages[place].body)), messages[place].blobs, key
    )


def test_a_share_that_its_dealer_did_not_sign_does_not_count(make_federation):
    federation = ready(make_federation)

    def lie(body):
        share = bytearray(body["self"]["aachen"])
        share[5] ^= 1
        return {**body, "self": {**body["self"], "aachen": bytes(share)}}

    honest = federation.aggregate(AT)
    resign(federation, "dresden", Kind.REVEAL, lie)
    assert federation.aggregate(AT) == honest  # three true shares are left
    without(federation, (Kind.REVEAL, "coburg"))
    with pytest.raises(AggregateError, match="no share that aachen signed came from dresden"):
        federation.aggregate(AT)


def test_accepts_of_another_set_do_not_count(make_federation):
    federation = ready(make_federation)
    for name in ("berlin", "dresden"):
        resign(federation, name, Kind.ACCEPT, lambda body: {**body, "silos": ["aachen", "berlin", "coburg"]})
    with pytest.raises(AggregateError, match="2 of 3 survivors accepted"):
        federation.aggregate(AT)


def test_forged_messages_are_refused(make_federation):
    federation = ready(make_federation)
    messages = federation.board.messages
    place = next(i for i, m in enumerate(messages) if m.slot.kind is Kind.REVEAL)
    messages[place] = replace(messages[place], body={**messages[place].body, "pair": {"berlin": b"\0" * 32}})
    with pytest.raises(SignatureError):
        federation.aggregate(AT)


def test_a_survivor_set_below_the_quorum_is_refused(make_federation):
    federation = ready(make_federation)
    without(federation, (Kind.SURVIVORS, "hub"))
    slot = Slot("0192-test", 1, *AT, Kind.SURVIVORS, "hub")
    federation.board.messages.append(sign(slot, {"silos": ["aachen", "berlin"]}, (), federation.hub_key))
    with pytest.raises(AggregateError, match="too few"):
        federation.aggregate(AT)


@pytest.mark.parametrize("damage", ["short", "long", "changed", "odd"])
def test_blobs_that_are_not_what_was_announced_are_refused(make_federation, damage):
    federation = ready(make_federation)
    digest = federation.posted(Kind.MASKED, AT)["coburg"].blobs[0]
    data = federation.board.blobs[digest]
    federation.board.blobs[digest] = {
        "short": data[:-1],
        "long": data + b"\0",
        "changed": data[:-1] + bytes([data[-1] ^ 1]),
        "odd": b"",
    }[damage]
    with pytest.raises(AggregateError, match="coburg"):
        federation.aggregate(AT)


def test_vectors_of_different_lengths_are_refused(make_federation):
    federation = make_federation(4)
    federation.vectors["coburg", "r50", 1] = np.zeros(7, dtype=np.uint32)
    assert federation.enrol()
    for gathered, decision in (
        (Kind.KEYS, Kind.KEYSET),
        (Kind.SHARES, Kind.SENDERS),
        (Kind.MASKED, Kind.SURVIVORS),
    ):
        federation.decide(decision, {"silos": sorted(federation.posted(gathered, AT))}, AT)
    with pytest.raises(AggregateError, match="length"):
        federation.aggregate(AT)


def test_what_the_job_gives_is_still_blinded(make_federation):
    federation = ready(make_federation)
    blob = federation.aggregate(AT)
    values = np.frombuffer(blob[:-16], dtype="<u4").view(np.int32).astype(np.int64)
    expected = federation.expected("r50", 1, federation.names)
    assert not np.any(values == expected)
    assert hashlib.sha256(blob).hexdigest() not in federation.board.blobs
