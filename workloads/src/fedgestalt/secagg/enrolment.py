"""Enrolment, the silo's side: fresh keys, a signed roster, commitments opened, keys confirmed by all.

Commit before open: no silo can choose its contribution to the keys after it has seen another's. All or
nothing: any loss voids the attempt, and the next one begins with everything new.
"""

from __future__ import annotations

import hmac

from fedgestalt.crypto.delegation import Delegation, DelegationExpiredError
from fedgestalt.crypto.encoding import decode, encode
from fedgestalt.crypto.errors import EncodingError, SealError, SignatureError
from fedgestalt.crypto.keys import Identity, Purpose, derive
from fedgestalt.crypto.sealing import seal, unseal
from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.context import Peer, commitment, handshake_hash
from fedgestalt.secagg.effects import Effect, Enrolled, Ignored, Post, Void
from fedgestalt.secagg.keyring import EnrolmentSecrets
from fedgestalt.secagg.kinds import FaultReason, Kind
from fedgestalt.secagg.messages import Message, Slot, sign
from fedgestalt.secagg.party import Pen
from fedgestalt.secagg.quantise import two_significant_bits

_HALF = 32
_OPENING_LIMIT = 256


class Enrolment:
    """One silo in one enrolment attempt. Signatures of messages are checked before they come here."""

    def __init__(
        self,
        pen: Pen,
        identity: Identity,
        computation: Computation,
        secrets: EnrolmentSecrets,
        *,
        weight: int,
        not_after: int,
        now: float,
    ) -> None:
        self._pen, self._identity, self._computation, self._secrets = pen, identity, computation, secrets
        self._weight, self._not_after, self._now = weight, not_after, now
        self._candidates: dict[str, Peer] = {}
        self._expired: set[str] = set()
        self._endorsed: set[str] = set()
        self._openings: dict[str, bytes] = {}
        self._confirmed: set[str] = set()
        self._failed = False
        self.peers: dict[str, Peer] = {}
        self.h = b""
        self.run_key = b""
        self.epoch_key = b""
        self.enrolled = False

    def open(self) -> list[Effect]:
        """The silo's ``enrol`` message; the same bytes after a restart."""
        secrets, name = self._secrets, self._pen.name
        delegation = self._delegation(name, secrets.signing.public, secrets.sealing.public, self._not_after)
        body = {
            "identity": self._identity.public,
            "signing": secrets.signing.public,
            "sealing": secrets.sealing.public,
            "not_after": self._not_after,
            "delegation": delegation.sign(self._identity),
            "commitment": self._commitment(name, secrets.opening, secrets.nonce),
            "weight": self._weight,
        }
        return [Post(sign(self._pen.slot(Kind.ENROL), body, (), self._identity))]

    def signing_key(self, sender: str) -> bytes | None:
        """The key that ``sender`` signs with in this attempt: 32 bytes, or None if it is unknown."""
        peer = (self.peers or self._candidates).get(sender)
        return None if peer is None else peer.signing

    def on(self, message: Message) -> list[Effect]:
        """Advance by one message."""
        if message.slot.kind is Kind.VOID:
            self._failed, self.enrolled = True, False
            return [Void(message.body["reason"])]
        if self._failed:
            return []
        match message.slot.kind:
            case Kind.ENROL:
                return self._on_enrol(message)
            case Kind.ROSTER:
                return self._on_roster(message)
            case Kind.ENDORSE:
                return self._on_endorse(message)
            case Kind.OPENING:
                return self._on_opening(message)
            case Kind.CONFIRM:
                return self._on_confirm(message)
            case Kind.ENROLLED:
                return self._on_enrolled(message)
        return []

    def _on_enrol(self, message: Message) -> list[Effect]:
        name, body = message.slot.sender, message.body
        if self.peers:
            return []  # after the roster closed
        if self._computation.silos.get(name) != body["identity"]:
            return [Ignored(message.slot, "its identity is not the one in the computation")]
        if two_significant_bits(body["weight"]) != body["weight"]:
            return [Ignored(message.slot, "its weight has more than two significant bits")]
        delegation = self._delegation(name, body["signing"], body["sealing"], body["not_after"])
        try:
            delegation.verify(body["identity"], body["delegation"], now=self._now)
        except SignatureError:
            return [Ignored(message.slot, "its identity did not sign the delegation")]
        except DelegationExpiredError:
            self._expired.add(name)
            return [Ignored(message.slot, "its delegation has expired")]
        self._candidates[name] = Peer.of(body)
        return []

    def _on_roster(self, message: Message) -> list[Effect]:
        roster = message.body["silos"]
        if self._pen.name not in roster:
            self._failed = True
            return [Void("not in the roster")]
        unknown = [name for name in roster if name not in self._candidates]
        if skewed := sorted(self._expired & set(unknown)):
            detail = f"delegations of {', '.join(skewed)} have expired by my clock"
            return self._fail(FaultReason.CLOCK_SKEWED, detail)
        if unknown:
            detail = f"no believable enrol message of {', '.join(unknown)}"
            return self._fail(FaultReason.ROSTER_UNKNOWN, detail)
        own = self._candidates[self._pen.name]
        if (own.signing, own.weight) != (self._secrets.signing.public, self._weight):
            return self._fail(FaultReason.ROSTER_UNKNOWN, "my own enrol message on the board is not mine")
        if len(roster) < self._computation.need:
            detail = f"a roster of {len(roster)} where {self._computation.need} are needed"
            return self._fail(FaultReason.ROSTER_UNKNOWN, detail)
        self.peers = {name: self._candidates[name] for name in roster}
        self.h = handshake_hash(self._computation, self._pen.enrolment, self.peers)
        return [self._pen.post(Kind.ENDORSE, {"h": self.h})]

    def _on_endorse(self, message: Message) -> list[Effect]:
        if message.slot.sender not in self.peers:
            return [Ignored(message.slot, "not in the roster")]
        if message.body["h"] != self.h:
            detail = f"{message.slot.sender} endorsed another roster"
            return self._fail(FaultReason.ENDORSEMENT_MISMATCH, detail)
        self._endorsed.add(message.slot.sender)
        if len(self._endorsed) < len(self.peers):
            return []
        text = encode([self._secrets.opening, self._secrets.nonce])
        own = self._pen.slot(Kind.OPENING).encode()
        sealed = {}
        try:
            for name, peer in self.peers.items():
                if name != self._pen.name:
                    seed = self._secrets.ephemeral(name)
                    sealed[name] = seal(text, recipient=peer.sealing, slot=own, salt=self.h, seed=seed)
        except SealError as error:
            return self._fail(FaultReason.COMMITMENT_MISMATCH, f"cannot seal to {name}: {error}")
        return [self._pen.post(Kind.OPENING, {"sealed": sealed})]

    def _on_opening(self, message: Message) -> list[Effect]:
        name, sealed = message.slot.sender, message.body["sealed"]
        if len(self._endorsed) < len(self.peers) or name not in self.peers:
            return [Ignored(message.slot, "out of place")]
        if name == self._pen.name:
            self._openings[name] = self._secrets.opening
        else:
            opening = self._opened(message.slot, sealed.get(self._pen.name, b""))
            if opening is None or sealed.keys() != self.peers.keys() - {name}:
                detail = f"the opening of {name} does not fit its commitment"
                return self._fail(FaultReason.COMMITMENT_MISMATCH, detail)
            self._openings[name] = opening
        if len(self._openings) < len(self.peers):
            return []
        self.run_key = self._combine(slice(None, _HALF), Purpose.RUN)
        if self._computation.new_epoch:
            self.epoch_key = self._combine(slice(_HALF, None), Purpose.EPOCH)
        return [self._pen.post(Kind.CONFIRM, {"mac": self._mac(self._pen.name)})]

    def _on_confirm(self, message: Message) -> list[Effect]:
        name = message.slot.sender
        if not self.run_key or name not in self.peers:
            return [Ignored(message.slot, "out of place")]
        if not hmac.compare_digest(message.body["mac"], self._mac(name)):
            return self._fail(FaultReason.CONFIRMATION_MISMATCH, f"{name} holds another key")
        self._confirmed.add(name)
        return []

    def _on_enrolled(self, message: Message) -> list[Effect]:
        fits = message.body["h"] == self.h and message.body["silos"] == list(self.peers)
        if not fits or not self.peers or self._confirmed != self.peers.keys():
            detail = "enrolled was declared before all keys were confirmed"
            return self._fail(FaultReason.CONFIRMATION_MISMATCH, detail)
        self.enrolled = True
        return [Enrolled(self.h, tuple(self.peers), {name: peer.weight for name, peer in self.peers.items()})]

    def _fail(self, reason: FaultReason, detail: str) -> list[Effect]:
        self._failed = True
        return self._pen.fault(reason, detail)

    def _opened(self, slot: Slot, sealed: bytes) -> bytes | None:
        """r_j of the sender, if it can be read and fits the commitment."""
        try:
            text = unseal(sealed, key=self._secrets.sealing, slot=slot.encode(), salt=self.h)
            opening, nonce = decode(text, limit=_OPENING_LIMIT)
            expected = self._commitment(slot.sender, opening, nonce)
        except (SealError, EncodingError, ValueError, TypeError):
            return None
        fits = type(opening) is bytes and len(opening) == 2 * _HALF
        return opening if fits and expected == self.peers[slot.sender].commitment else None

    def _combine(self, half: slice, purpose: Purpose) -> bytes:
        secret = b"".join(self._openings[name][half] for name in self.peers)
        return derive(secret, salt=self.h, purpose=purpose)

    def _mac(self, name: str) -> bytes:
        key = derive(self.run_key, salt=self.h, purpose=Purpose.CONFIRM)
        return hmac.digest(key, name.encode(), "sha256")

    def _commitment(self, name: str, opening: bytes, nonce: bytes) -> bytes:
        return commitment(self._pen.round, self._pen.enrolment, name, opening, nonce)

    def _delegation(self, name: str, signing: bytes, sealing: bytes, not_after: int) -> Delegation:
        return Delegation(self._pen.round, self._pen.enrolment, name, signing, sealing, not_after)
