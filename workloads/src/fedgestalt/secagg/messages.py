"""Envelopes on the board: signed, canonically encoded, each in one slot that is written once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fedgestalt.crypto.encoding import decode, encode
from fedgestalt.crypto.errors import EncodingError, SignatureError
from fedgestalt.crypto.keys import SigningKey, key_id, verify_signature
from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.kinds import AGGREGATION_KINDS, HUB, SILO_KINDS, FaultReason, Kind
from fedgestalt.secagg.schemas import check_body, check_name

__all__ = ["HUB", "MAX_MESSAGE_BYTES", "FaultReason", "Kind", "Message", "Slot", "sign", "verify"]

MAX_MESSAGE_BYTES: Final = 256 * 1024
_VERSION: Final = 1
_MAX_BLOBS: Final = 256
_PREFIX: Final = b"fedgestalt/message/v1"
RELEASE_PREFIX: Final = b"fedgestalt/release/v1"
"""What a silo signs of a release: this prefix and the manifest's digest, so that no other signature passes for it."""
_FIELDS: Final = frozenset(
    {"v", "round", "enrolment", "member", "t", "try", "kind", "sender", "body", "blobs", "kid", "sig"}
)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a message stands; written once. Unused coordinates are ``""`` and 0, used ones count from 1.

    Attributes:
        round: uid of the federation round.
        enrolment: enrolment attempt; 0 for the computation alone.
        member: member of the ensemble, ``evaluation``, or the name of a stage.
        t: communication round.
        attempt: aggregation try (the field ``try`` of the envelope).
        kind: kind of message.
        sender: a silo's name, or ``hub``.
    """

    round: str
    enrolment: int
    member: str
    t: int
    attempt: int
    kind: Kind
    sender: str

    def encode(self) -> bytes:
        """Canonical bytes: what sealed texts are bound to."""
        return encode(
            [self.round, self.enrolment, self.member, self.t, self.attempt, str(self.kind), self.sender]
        )

    def __str__(self) -> str:
        where = f" {self.member} t={self.t} try={self.attempt}" if self.member else ""
        return f"{self.kind} of {self.sender}, enrolment {self.enrolment}{where}"


@dataclass(frozen=True, slots=True)
class Message:
    """An envelope.

    Attributes:
        slot: its place on the board.
        body: fields by kind (``fedgestalt.secagg.schemas``).
        blobs: SHA-256 digests, hex, of blobs that must exist for the message to be complete.
        kid: first 8 bytes of the SHA-256 of the signing key.
        signature: Ed25519, 64 bytes.
    """

    slot: Slot
    body: Mapping[str, Any]
    blobs: tuple[str, ...] = ()
    kid: bytes = b""
    signature: bytes = field(default=b"", repr=False)

    def signed_bytes(self) -> bytes:
        """What the signature covers: the prefix and the envelope without ``sig``."""
        return _PREFIX + encode(self._fields())

    def encode(self) -> bytes:
        """The canonical bytes that travel.

        Raises:
            MessageError: they exceed 256 KiB.
        """
        data = encode({**self._fields(), "sig": self.signature})
        if len(data) > MAX_MESSAGE_BYTES:
            raise MessageError(
                f"{self.slot}: {len(data)} bytes exceed 256 KiB; larger things travel as blobs"
            )
        return data

    @classmethod
    def decode(cls, data: bytes) -> Message:
        """Read an envelope from untrusted bytes. The signature is not checked here: see :func:`verify`.

        Raises:
            MessageError: too large, not canonical CBOR, or a field missing, unknown or malformed.
        """
        try:
            fields = decode(data, limit=MAX_MESSAGE_BYTES)
        except EncodingError as error:
            raise MessageError(f"not a message: {error}") from error
        if type(fields) is not dict or fields.keys() != _FIELDS or fields["v"] != _VERSION:
            raise MessageError("not an envelope of version 1 with exactly the fields of the protocol")
        _check_types(fields)
        try:
            kind = Kind(fields["kind"])
        except ValueError:
            raise MessageError(f"unknown kind {fields['kind'][:40]!r}") from None
        slot = Slot(
            fields["round"],
            fields["enrolment"],
            fields["member"],
            fields["t"],
            fields["try"],
            kind,
            fields["sender"],
        )
        blobs = tuple(digest.hex() for digest in fields["blobs"])
        message = cls(slot, fields["body"], blobs, fields["kid"], fields["sig"])
        _check(message)
        return message

    def _fields(self) -> dict[str, Any]:
        slot = self.slot
        return {
            "v": _VERSION,
            "round": slot.round,
            "enrolment": slot.enrolment,
            "member": slot.member,
            "t": slot.t,
            "try": slot.attempt,
            "kind": str(slot.kind),
            "sender": slot.sender,
            "body": self.body,
            "blobs": [bytes.fromhex(digest) for digest in self.blobs],
            "kid": self.kid,
        }


def sign(slot: Slot, body: Mapping[str, Any], blobs: Iterable[str], key: SigningKey) -> Message:
    """Make the signed message of ``slot``. Ed25519 is deterministic: the same content gives the same bytes.

    Raises:
        MessageError: slot, body or blobs break the protocol.
    """
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in body.items()}
    unsigned = Message(slot, listed, tuple(blobs), key_id(key.public))
    _check(unsigned)
    signature = key.sign(unsigned.signed_bytes())
    return Message(unsigned.slot, unsigned.body, unsigned.blobs, unsigned.kid, signature)


def verify(message: Message, public_key: bytes) -> None:
    """Check the signature of ``message`` with a raw Ed25519 public key.

    Raises:
        SignatureError: another key, or altered content.
    """
    if message.kid != key_id(public_key):
        raise SignatureError(f"{message.slot}: signed by another key than the one expected of this sender")
    try:
        verify_signature(public_key, message.signature, message.signed_bytes())
    except SignatureError as error:
        raise SignatureError(f"{message.slot}: {error}") from error


def _check_types(fields: Mapping[str, Any]) -> None:
    expected: dict[str, type] = {
        "round": str, "enrolment": int, "member": str, "t": int, "try": int, "kind": str, "sender": str,
        "body": dict, "blobs": list, "kid": bytes, "sig": bytes,
    }  # fmt: skip
    for name, kind in expected.items():
        if type(fields[name]) is not kind:
            raise MessageError(f"field {name!r} must be {kind.__name__}")
    if any(type(digest) is not bytes or len(digest) != 32 for digest in fields["blobs"]):
        raise MessageError("field 'blobs' must be a list of 32-byte digests")
    if len(fields["kid"]) != 8 or len(fields["sig"]) != 64:
        raise MessageError("'kid' must have 8 and 'sig' 64 bytes")


def _check(message: Message) -> None:
    slot = message.slot
    if not 0 < len(slot.round) <= 64 or len(slot.member) > 63:
        raise MessageError(f"{slot.kind}: a round uid has 1 to 64 characters, a member at most 63")
    if max(slot.enrolment, slot.t, slot.attempt) >= 1 << 31 or min(slot.enrolment, slot.t, slot.attempt) < 0:
        raise MessageError(f"{slot.kind}: a coordinate is out of range")
    if (slot.sender != HUB) != (slot.kind in SILO_KINDS):
        raise MessageError(
            f"{slot.kind}: not a kind that {'the hub' if slot.sender == HUB else 'a silo'} posts"
        )
    if slot.sender != HUB:
        check_name(slot.sender)
    if (slot.enrolment == 0) != (slot.kind is Kind.COMPUTATION) and slot.kind is not Kind.FAILED:
        raise MessageError(f"{slot.kind}: enrolment attempts count from 1; 0 is the computation's alone")
    if slot.kind in AGGREGATION_KINDS and (not slot.member or slot.t < 1 or slot.attempt < 1):
        raise MessageError(f"{slot.kind}: needs a member, a t and a try; both count from 1")
    if len(message.blobs) > _MAX_BLOBS:
        raise MessageError(f"{slot.kind}: more than {_MAX_BLOBS} blobs")
    check_body(slot.kind, message.body)
