"""The two hashes to which everything is bound: h of an enrolment, ctx of an aggregation try."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedgestalt.crypto.encoding import encode
from fedgestalt.crypto.keys import Purpose, derive
from fedgestalt.crypto.masks import LANES
from fedgestalt.secagg.computation import Computation

_VERSION = 1


@dataclass(frozen=True)
class Peer:
    """What the roster fixes of one silo: keys of 32 bytes, its commitment and its public weight."""

    identity: bytes
    signing: bytes
    sealing: bytes
    commitment: bytes
    weight: int

    @classmethod
    def of(cls, enrol: Mapping[str, Any]) -> Peer:
        """From the body of a checked ``enrol`` message."""
        return cls(*(enrol[name] for name in ("identity", "signing", "sealing", "commitment", "weight")))


def handshake_hash(computation: Computation, enrolment: int, roster: Mapping[str, Peer]) -> bytes:
    """h: 32 bytes that name version, computation, enrolment attempt and all that the roster fixes."""
    silos = {
        name: [peer.identity, peer.signing, peer.sealing, peer.commitment, peer.weight]
        for name, peer in roster.items()
    }
    fields = [_VERSION, computation.round, enrolment, computation.digest, silos]
    return hashlib.sha256(b"fedgestalt/handshake/v1" + encode(fields)).digest()


def commitment(round_uid: str, enrolment: int, name: str, opening: bytes, nonce: bytes) -> bytes:
    """What a silo commits to before it sees any other's contribution to the keys: 32 bytes."""
    content = encode([round_uid, enrolment, name, opening, nonce])
    return hashlib.sha256(b"fedgestalt/commit/v1" + content).digest()


def try_context(
    h: bytes, member: str, t: int, attempt: int, publics: Mapping[str, bytes], model: bytes
) -> bytes:
    """ctx: 32 bytes that name one try, its key set (public keys by silo) and the global model before it."""
    key_set = hashlib.sha256(b"fedgestalt/keyset/v1" + encode(publics)).digest()
    fields = [h, member, t, attempt, key_set, model]
    return hashlib.sha256(b"fedgestalt/context/v1" + encode(fields)).digest()


def pair_key(shared: bytes, ctx: bytes) -> bytes:
    """Key of the mask that two silos share; the seed that is revealed when one of them drops."""
    return derive(shared, salt=ctx, purpose=Purpose.PAIR)


def self_key(secret: bytes, ctx: bytes) -> bytes:
    """Key of a silo's self mask, from b_i."""
    return derive(secret, salt=ctx, purpose=Purpose.SELF)


def blind_key(run_key: bytes, ctx: bytes, name: str) -> bytes:
    """Key of G_i, which keeps even the sum from the hub."""
    return derive(run_key, salt=ctx, purpose=Purpose.BLIND, extra=name.encode())


def check_keys(run_key: bytes, ctx: bytes) -> tuple[bytes, ...]:
    """Keys of the checksum's lanes."""
    return tuple(
        derive(run_key, salt=ctx, purpose=Purpose.CHECK, extra=bytes([lane])) for lane in range(LANES)
    )


def pair_sign(own: str, peer: str) -> int:
    """+1 if ``own`` adds the mask it shares with ``peer``, -1 if it subtracts it: the first by name adds."""
    return 1 if own < peer else -1


def share_statement(ctx: bytes, dealer: str, holder: str, share: bytes) -> bytes:
    """What the dealer of a share signs."""
    return b"fedgestalt/share/v1" + encode([ctx, dealer, holder, share])
