"""A silo in one enrolment attempt: the state machine that the agent drives, without transport, clock or disk.

After a restart the agent makes a new session over the same store, calls ``open``, replays the board from
its first message, and calls ``begin`` and ``submit`` as far as training got. Every secret is in the
store before an effect that depends on it is returned, and all messages come out as the same bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from fedgestalt.crypto.errors import SignatureError
from fedgestalt.crypto.keys import KEY_BYTES, Identity, Rng
from fedgestalt.crypto.ring import Ring
from fedgestalt.crypto.sealing import seal, unseal
from fedgestalt.secagg.aggregation import Aggregation
from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.effects import Effect, Enrolled, Fetch, Ignored, SecretStore
from fedgestalt.secagg.enrolment import Enrolment
from fedgestalt.secagg.errors import SessionError
from fedgestalt.secagg.keyring import EnrolmentSecrets, drawn_root
from fedgestalt.secagg.kinds import AGGREGATION_KINDS, HUB, FaultReason, Kind
from fedgestalt.secagg.messages import Message, Slot, verify
from fedgestalt.secagg.party import Party, Pen
from fedgestalt.secagg.quantise import two_significant_bits
from fedgestalt.secagg.subkeys import epoch_entry, epoch_subkey, subkey

__all__ = ["SecretStore", "SiloSession", "epoch_subkey"]

_ENROLMENT_KINDS: Final = frozenset(
    {Kind.ENROL, Kind.ROSTER, Kind.ENDORSE, Kind.OPENING, Kind.CONFIRM, Kind.ENROLLED, Kind.VOID}
)


class SiloSession:
    """One silo in one enrolment attempt.

    Args:
        name: the silo.
        identity: its long-lived key, which the computation lists under ``name``.
        computation: message 0, parsed and checked against the silo's grant.
        enrolment: the attempt, from 1.
        weight: number of training photos to two significant bits (``two_significant_bits``).
        store: durable memory.
        hub_key: the hub's public key as the site pins it, 32 bytes.
        not_after: end of the delegation, seconds since the Unix epoch.
        now: the site's time, used for nothing but the expiry of peers' delegations.
        rng: source of randomness.

    Raises:
        SessionError: the arguments contradict each other.
    """

    def __init__(
        self,
        name: str,
        identity: Identity,
        computation: Computation,
        enrolment: int,
        weight: int,
        store: SecretStore,
        *,
        hub_key: bytes,
        not_after: int,
        now: float,
        rng: Rng = secrets.token_bytes,
    ) -> None:
        if computation.silos.get(name) != identity.public:
            raise SessionError(
                f"the computation does not list {name!r} with this identity; check grant and key file"
            )
        if two_significant_bits(weight) != weight:
            raise SessionError(
                f"weight {weight} has more than two significant bits; use two_significant_bits"
            )
        if not_after <= now:
            raise SessionError("the delegation would have expired before it began")
        self.name, self.computation, self.enrolment_number = name, computation, enrolment
        self._store, self._hub_key, self._rng = store, hub_key, rng
        self._prefix = f"secagg/{computation.round}/{enrolment}/"
        self._secrets = EnrolmentSecrets(drawn_root(store, self._prefix + "root", rng))
        self._pen = Pen(computation.round, enrolment, name, self._secrets.signing)
        self._enrolment = Enrolment(
            self._pen, identity, computation, self._secrets, weight=weight, not_after=not_after, now=now
        )
        self._party: Party | None = None
        self._aggregations: dict[tuple[str, int], Aggregation] = {}
        self._fetching: dict[str, Aggregation] = {}
        self._seen: dict[Slot, Message] = {}

    def open(self) -> list[Effect]:
        """Post ``enrol``."""
        return self._enrolment.open()

    def on(self, message: Message) -> list[Effect]:
        """Take the next message of the board, own ones included, and say what follows.

        Signatures are verified here. Messages of other rounds or enrolments have no effect.
        """
        slot = message.slot
        if (slot.round, slot.enrolment) != (self.computation.round, self.enrolment_number):
            return []
        try:
            self.verify(message)
        except SignatureError as error:
            return [Ignored(slot, str(error))]
        if slot in self._seen:
            return [] if self._seen[slot] == message else [Ignored(slot, "its slot was written before")]
        self._seen[slot] = message
        if slot.kind in _ENROLMENT_KINDS:
            return self._on_enrolment(message)
        if slot.kind in AGGREGATION_KINDS:
            return self._on_aggregation(message)
        if slot.kind is Kind.FAULT and slot.sender == self.name:
            self._pen.faulted.add((slot.member, slot.t, slot.attempt))
        return []

    def begin(self, member: str, t: int, model_hash: bytes) -> list[Effect]:
        """The silo holds the global model of t - 1 (hash of 32 bytes) and is ready for (member, t): post
        keys.

        Calling it again, for instance after a restart, is no error. Later tries post their keys by
        themselves.
        """
        return self._aggregation(member, t).begin(model_hash)

    def submit(self, member: str, t: int, vector: Ring, *, scale: int | None = None) -> list[Effect]:
        """The silo's vector (uint32 [P]) for (member, t); it must not be changed afterwards.

        Kept in memory until this t is over, and masked afresh in each try, as soon as the senders are known.
        ``scale`` is the multiple of the public bounds under which it was quantised; if given, it is checked.

        Raises:
            SessionError: the open try has another scale: vectors of different scales do not add up.
            SpoolLostError: another vector was announced in the open try. If the spool holds ``announced``,
                nothing is lost; otherwise post ``fault(FaultReason.SPOOL_LOST, ...)``. The vector is kept
                for later tries.
        """
        return self._aggregation(member, t).submit(vector, scale)

    def scale(self, member: str, t: int) -> int:
        """The multiple of the public bounds that holds in the open try of (member, t)."""
        return self._aggregation(member, t).scale

    def announced(self, member: str, t: int) -> str | None:
        """Digest (hex) of the masked vector that was made in the open try, before or after a restart."""
        made = self._aggregation(member, t).current.announced
        return None if made is None else made[0].hex()

    def on_blob(self, digest: str, data: bytes) -> list[Effect]:
        """The answer to ``Fetch``: Summed, or a fault if the sum is not what it should be."""
        aggregation = self._fetching.get(digest)
        if aggregation is None or aggregation.current.digest != digest:
            return []
        return aggregation.current.on_sum(data)

    def confirm_model(self, member: str, t: int, model_hash: bytes) -> list[Effect]:
        """The server step of (member, t) is done: post the hash of the new global model (32 bytes)."""
        return self._aggregation(member, t).confirm(model_hash)

    def fault(self, reason: FaultReason, detail: str, member: str = "", t: int = 0) -> list[Effect]:
        """Post a fault that the agent found; at the open try of (member, t) if given. Never put data in
        ``detail``."""
        at = ("", 0, 0)
        if member and t and self.enrolled:
            at = self._aggregation(member, t).current.at
        return self._pen.fault(reason, detail, at)

    def message(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        *,
        member: str = "",
        t: int = 0,
        blobs: tuple[str, ...] = (),
    ) -> Message:
        """A message of a later stage (``rows``, ``score``, ``sign``), signed with the delegated key."""
        if kind in AGGREGATION_KINDS or kind in _ENROLMENT_KINDS:
            raise SessionError(f"{kind} messages are the session's own business")
        return self._pen.write(kind, body, (member, t, 0), blobs)

    def sign(self, data: bytes) -> bytes:
        """Sign other content, such as a release manifest, with the delegated key."""
        return self._secrets.signing.sign(data)

    def seal(self, text: bytes, recipient: str, slot: Slot) -> bytes:
        """Seal ``text`` to the delegated key of another silo of the roster, for this silo's message of ``slot``.

        Raises:
            SessionError: before the enrolment stands.
            KeyError: ``recipient`` is not in the roster.
        """
        self._require()
        key = self._enrolment.peers[recipient].sealing
        return seal(text, recipient=key, slot=slot.encode(), salt=self.h, seed=self._rng(KEY_BYTES))

    def unseal(self, sealed: bytes, slot: Slot) -> bytes:
        """Open what was sealed to this silo's delegated key in the message of ``slot``, salted with h.

        Raises:
            SealError: altered, or sealed for another silo, slot or enrolment.
        """
        return unseal(sealed, key=self._secrets.sealing, slot=slot.encode(), salt=self.h)

    def verify(self, message: Message) -> None:
        """Check that ``message`` was signed by whom it names.

        Raises:
            SignatureError: it was not, or its sender is unknown in this enrolment.
        """
        sender = message.slot.sender
        if message.slot.kind is Kind.ENROL:
            key = self.computation.silos.get(sender)
        else:
            key = self._hub_key if sender == HUB else self._enrolment.signing_key(sender)
        if key is None:
            raise SignatureError(f"{message.slot}: its sender is unknown in this enrolment")
        verify(message, key)

    @property
    def enrolled(self) -> bool:
        """Whether this enrolment stands: all keys confirmed, not void."""
        return self._enrolment.enrolled

    @property
    def h(self) -> bytes:
        """Hash of the enrolment, 32 bytes; empty before the roster is closed."""
        return self._enrolment.h

    @property
    def roster(self) -> tuple[str, ...]:
        """Silos of the roster, sorted; empty before it is closed."""
        return tuple(self._enrolment.peers)

    @property
    def weights(self) -> Mapping[str, int]:
        """Public weight of each silo of the roster."""
        return {name: peer.weight for name, peer in self._enrolment.peers.items()}

    def run_key(self, purpose: str) -> bytes:
        """A 32-byte subkey of K_run."""
        self._require()
        return subkey(self._enrolment.run_key, self.h, purpose)

    def epoch_key(self, purpose: str) -> bytes:
        """A 32-byte subkey of the K_epoch that this enrolment began."""
        self._require()
        return epoch_subkey(self._store, self.h, purpose)

    @property
    def fresh_epoch(self) -> bytes | None:
        """K_epoch itself, for the vault that outlives the round; None where this enrolment began no epoch."""
        self._require()
        return self._store.get(epoch_entry(self.h))

    def close(self) -> None:
        """Delete this attempt's secrets: at the round's end, or once it is void. K_epoch and the ledger
        stay."""
        self._store.delete(self._prefix)

    def _on_enrolment(self, message: Message) -> list[Effect]:
        if (message.slot.member, message.slot.t, message.slot.attempt) != ("", 0, 0):
            return [Ignored(message.slot, "messages of an enrolment have no member, t or try")]
        effects = self._enrolment.on(message)
        if any(isinstance(effect, Enrolled) for effect in effects):
            if self._enrolment.epoch_key:
                self._store.put(epoch_entry(self.h), self._enrolment.epoch_key)
            self._party = Party(
                self._pen, self._secrets.sealing, self._enrolment.peers, self.h, self._enrolment.run_key,
                self.computation.min_silos, self._store, self._rng,
            )  # fmt: skip
        return effects

    def _on_aggregation(self, message: Message) -> list[Effect]:
        slot = message.slot
        if self._party is None or not self.enrolled:
            return [Ignored(slot, "this enrolment does not stand")]
        if slot.sender != HUB and slot.sender not in self._party.peers:
            return [Ignored(slot, "its sender is not in the roster")]
        aggregation = self._aggregation(slot.member, slot.t)
        effects = aggregation.on(message)
        self._fetching.update({e.digest: aggregation for e in effects if isinstance(e, Fetch)})
        return effects

    def _aggregation(self, member: str, t: int) -> Aggregation:
        if self._party is None or not self.enrolled:
            raise SessionError("this silo is not enrolled, so there is nothing to aggregate")
        key = (member, t)
        if key not in self._aggregations:
            self._aggregations[key] = Aggregation(self._party, member, t)
        return self._aggregations[key]

    def _require(self) -> None:
        if not self.enrolled:
            raise SessionError("keys exist once all silos have confirmed them")
