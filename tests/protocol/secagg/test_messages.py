"""Envelopes: what is written is read back, and everything else is refused."""

from dataclasses import replace

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgestalt.crypto.encoding import encode
from fedgestalt.crypto.errors import SignatureError
from fedgestalt.crypto.keys import SigningKey
from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.kinds import AGGREGATION_KINDS, SILO_KINDS, FaultReason, Kind
from fedgestalt.secagg.messages import Message, Slot, sign, verify
from fedgestalt.secagg.schemas import SCHEMAS

KEY = SigningKey.from_seed(b"\1" * 32)
D = b"\2" * 32
BODIES = {
    Kind.COMPUTATION: {"digest": D},
    Kind.ENROL: {
        "identity": D, "signing": D, "sealing": D, "not_after": 1, "delegation": D + D, "commitment": D,
        "weight": 3,
    },
    Kind.ROSTER: {"silos": ["a", "b"]},
    Kind.ENDORSE: {"h": D},
    Kind.OPENING: {"sealed": {"b": b"x"}},
    Kind.CONFIRM: {"mac": D},
    Kind.ENROLLED: {"h": D, "silos": ["a", "b"]},
    Kind.VOID: {"reason": "lost", "lost": []},
    Kind.KEYS: {"public": D, "model": D},
    Kind.KEYSET: {"silos": ["a"]},
    Kind.SHARES: {"sealed": {"b": b"x"}},
    Kind.SENDERS: {"silos": ["a"]},
    Kind.MASKED: {"digest": D, "length": 20},
    Kind.SURVIVORS: {"silos": ["a"]},
    Kind.ACCEPT: {"ctx": D, "silos": ["a"]},
    Kind.REVEAL: {"self": {"b": b"x"}, "pair": {"c": D}},
    Kind.AGGREGATE: {"digest": D, "silos": ["a"]},
    Kind.MODEL: {"hash": D},
    Kind.ADVANCE: {"hash": D, "silos": ["a"]},
    Kind.RETRY: {"reason": "TooFewShares", "scale": 16},
    Kind.SKIP: {"reason": "SurvivorSetBurnt"},
    Kind.STAGE: {},
    Kind.ADMIT: {"epoch": D, "newcomers": {"west": D}},
    Kind.WELCOME: {"sealed": {"west": b"x"}},
    Kind.ROWS: {
        **{"gallery": 1, "test": 2, "undiagnosed": 0},
        **dict.fromkeys(("digest", "bundle", "sealed", "epoch_check", "data"), D),
    },
    Kind.ROWS_CLOSED: {"silos": ["a"]},
    Kind.RANKINGS: {"owners": {"a": D}},
    Kind.SCORE: {"table": b"{}"},
    Kind.MANIFEST: {"digest": D},
    Kind.SIGN: {"digest": D, "signature": D + D},
    Kind.RELEASED: {"digest": D, "signers": ["a"]},
    Kind.FAILED: {"reason": "TriesExhausted", "message": "no"},
    Kind.FAULT: {"reason": str(FaultReason.CHECK_FAILED), "detail": "no"},
}  # fmt: skip


def slot(kind):
    enrolment = 0 if kind is Kind.COMPUTATION else 1
    member, t, attempt = ("r50", 1, 1) if kind in AGGREGATION_KINDS else ("", 0, 0)
    return Slot("uid", enrolment, member, t, attempt, kind, "aachen" if kind in SILO_KINDS else "hub")


def make(kind=Kind.FAULT, **changes):
    return sign(replace(slot(kind), **changes), BODIES[kind], [D.hex()], KEY)


def test_every_kind_has_a_schema_and_an_example():
    assert set(SCHEMAS) == set(Kind) == set(BODIES)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_message_comes_back_as_it_was_sent(kind):
    message = make(kind)
    again = Message.decode(message.encode())
    assert again == message
    verify(again, KEY.public)


def test_the_envelope_is_what_the_reference_says():
    fields = cbor2.loads(make().encode())
    assert fields.keys() == {
        "v", "round", "enrolment", "member", "t", "try", "kind", "sender", "body", "blobs", "kid", "sig",
    }  # fmt: skip
    signature = fields.pop("sig")
    signed = b"fedgestalt/message/v1" + cbor2.dumps(fields, canonical=True)
    assert KEY.sign(signed) == signature


def test_signing_twice_gives_the_same_bytes():
    assert make().encode() == make().encode()


@pytest.mark.parametrize("kind", list(Kind))
def test_missing_and_unknown_fields_are_refused(kind):
    body = BODIES[kind]
    with pytest.raises(MessageError, match="extra"):
        sign(slot(kind), {**body, "extra": 1}, (), KEY)
    for field in body:
        with pytest.raises(MessageError, match=field):
            sign(slot(kind), {k: v for k, v in body.items() if k != field}, (), KEY)


@pytest.mark.parametrize(
    "wrong",
    [b"", b"\1" * 600_000, -1, 1 << 60, "\x00" * 3000, [], ["b", "a"], ["a", "a"], {"A": 1}, True, 1.5],
)
@pytest.mark.parametrize("kind", list(Kind))
def test_no_field_takes_everything(kind, wrong):
    for field, value in BODIES[kind].items():
        if type(value) is type(wrong) and wrong in (b"", []):
            continue  # allowed where a length may be zero
        with pytest.raises(MessageError):
            sign(slot(kind), {**BODIES[kind], field: wrong}, (), KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {"round": ""},
        {"round": "x" * 65},
        {"enrolment": 0},
        {"enrolment": 1 << 31},
        {"sender": "hub"},
        {"sender": "Aachen"},
        {"sender": "a" * 64},
        {"sender": "-a"},
        {"member": "m" * 64},
    ],
)
def test_slots_out_of_range_are_refused(changes):
    with pytest.raises(MessageError):
        make(**changes)


def test_aggregations_need_all_their_coordinates():
    for changes in ({"member": ""}, {"t": 0}, {"attempt": 0}):
        with pytest.raises(MessageError, match="count from 1"):
            make(Kind.KEYS, **changes)


def test_altered_messages_and_other_keys_do_not_verify():
    message = make()
    other = SigningKey.from_seed(b"\3" * 32)
    with pytest.raises(SignatureError, match="another key"):
        verify(message, other.public)
    for altered in (
        replace(message, slot=replace(message.slot, t=7)),
        replace(message, body={**message.body, "detail": "yes"}),
        replace(message, blobs=()),
        replace(message, signature=bytes(64)),
    ):
        with pytest.raises(SignatureError):
            verify(altered, KEY.public)


def test_more_than_256_kib_are_refused_before_they_are_parsed():
    with pytest.raises(MessageError, match="limit"):
        Message.decode(b"\xff" * (256 * 1024 + 1))


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_other_bytes_are_one_kind_of_error(data):
    with pytest.raises(MessageError):
        Message.decode(data)


@given(st.data())
@settings(max_examples=200)
def test_a_message_with_changed_fields_is_refused_or_does_not_verify(data):
    fields = cbor2.loads(make(Kind.REVEAL).encode())
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(
        st.integers(0, 9) | st.binary(max_size=64) | st.text(max_size=9) | st.just([]) | st.just({})
    )
    if fields[name] == value:
        return
    fields[name] = value
    try:
        message = Message.decode(encode(fields))
    except MessageError:
        return
    with pytest.raises(SignatureError):
        verify(message, KEY.public)
