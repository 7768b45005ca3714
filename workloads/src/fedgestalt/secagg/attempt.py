"""One aggregation try, the silo's side: keys, shares, the masked vector, the survivors, what is revealed
of whom."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from fedgestalt.crypto.encoding import encode
from fedgestalt.crypto.errors import SealError, SignatureError
from fedgestalt.crypto.masks import Mask
from fedgestalt.crypto.ring import Ring
from fedgestalt.crypto.sealing import seal, unseal
from fedgestalt.secagg import context
from fedgestalt.secagg.effects import Effect, Fetch, Ignored, Masked, Summed
from fedgestalt.secagg.errors import SpoolLostError
from fedgestalt.secagg.keyring import TrySecrets, drawn_root, stored_root
from fedgestalt.secagg.kinds import FaultReason, Kind
from fedgestalt.secagg.messages import Message
from fedgestalt.secagg.party import Party
from fedgestalt.secagg.sharing import deal, verify_share
from fedgestalt.secagg.vector import masked, opened


class Attempt:
    """A try of (member, t). A silo that is not in the key set still follows, for it can read the sum."""

    def __init__(self, party: Party, member: str, t: int, attempt: int) -> None:
        self._party = party
        self.at = (member, t, attempt)
        self._keys: dict[str, Mapping[str, Any]] = {}
        self._publics: dict[str, bytes] = {}
        self._shares: dict[str, Message] = {}
        self._senders: tuple[str, ...] = ()
        self._masked: dict[str, bytes] = {}
        self._survivors: tuple[str, ...] = ()
        self._accepts: set[str] = set()
        self._secrets: TrySecrets | None = None
        self._pair_keys: dict[str, bytes] = {}
        self._dealt: dict[str, bytes] = {}
        self._ctx: bytes | None = None
        # Whether this silo has a part in the try: set by its place in the key set, taken away by a fault.
        self._taking_part = False
        self._accepted = self._revealed = False
        self.digest: str | None = None

    def start(self, model: bytes) -> list[Effect]:
        """Post the keys of this try, unless the key set is closed already."""
        if self._publics:
            return []
        root = drawn_root(self._party.store, self._key("root"), self._party.rng)
        body = {"public": TrySecrets(root).agreement.public, "model": model}
        return [self._party.pen.post(Kind.KEYS, body, self.at)]

    def on(self, message: Message, model: bytes | None) -> list[Effect]:
        """Advance by one message; ``model`` is the hash of the global model as far as this silo knows it."""
        match message.slot.kind:
            case Kind.KEYS:
                self._keys.setdefault(message.slot.sender, message.body)
            case Kind.KEYSET:
                return self._on_keyset(tuple(message.body["silos"]), model)
            case Kind.SHARES:
                self._shares[message.slot.sender] = message
            case Kind.SENDERS:
                return self._on_senders(tuple(message.body["silos"]))
            case Kind.MASKED:
                self._masked[message.slot.sender] = message.body["digest"]
            case Kind.SURVIVORS:
                return self._on_survivors(tuple(message.body["silos"]))
            case Kind.ACCEPT:
                return self._on_accept(message)
            case Kind.AGGREGATE:
                return self._on_aggregate(message)
        return []

    def _on_keyset(self, silos: tuple[str, ...], model: bytes | None) -> list[Effect]:
        if not self._keys.keys() >= set(silos) or len(silos) < self._party.need:
            return self._refuse(
                FaultReason.SURVIVOR_SET_INVALID, "the key set is too small or names silos without keys"
            )
        name = self._party.name
        known = self._keys[name]["model"] if name in silos else model
        models = {self._keys[silo]["model"] for silo in silos}
        if len(models) != 1 or (known is not None and models != {known}):
            return self._refuse(
                FaultReason.MODEL_MISMATCH, "the silos of the key set do not hold the model that I hold"
            )
        self._publics = {silo: self._keys[silo]["public"] for silo in silos}
        member, t, attempt = self.at
        ctx = context.try_context(self._party.h, member, t, attempt, self._publics, models.pop())
        self._ctx = ctx
        if name not in silos:
            return []
        root = stored_root(self._party.store, self._key("root"))
        if root is None or TrySecrets(root).agreement.public != self._publics[name]:
            return self._refuse(FaultReason.SPOOL_LOST, "the secrets behind my posted key are lost")
        self._secrets = secrets = TrySecrets(root)
        try:
            for silo, public in self._publics.items():
                if silo != name:
                    self._pair_keys[silo] = context.pair_key(secrets.agreement.agree(public), ctx)
        except SignatureError as error:
            return self._refuse(FaultReason.SURVIVOR_SET_INVALID, f"key of {silo}: {error}")
        self._taking_part = True
        self._dealt = deal(secrets, self._party.roster, ctx, name, self._party.pen.key)
        slot = self._party.pen.slot(Kind.SHARES, self.at).encode()
        sealed = {}
        for holder in silos:
            if holder != name:
                recipient, seed = self._party.peers[holder].sealing, secrets.ephemeral(holder)
                sealed[holder] = seal(
                    self._dealt[holder], recipient=recipient, slot=slot, salt=ctx, seed=seed
                )
        return [self._party.pen.post(Kind.SHARES, {"sealed": sealed}, self.at)]

    def _on_senders(self, silos: tuple[str, ...]) -> list[Effect]:
        if self._ctx is None:
            return []
        if not (self._shares.keys() & self._publics.keys()) >= set(silos) or len(silos) < self._party.need:
            return self._refuse(
                FaultReason.SURVIVOR_SET_INVALID, "the senders are too few or shared no self masks"
            )
        self._senders = silos
        return []

    def mask(self, vector: Ring | None) -> list[Effect]:
        """Mask ``vector`` if it is this silo's time to send, or name what was announced before.

        Raises:
            SpoolLostError: another vector was announced in this try. Its masks are spent.
        """
        if not self._taking_part or self._party.name not in self._senders or self._survivors:
            return []
        announced = self.announced
        if vector is None:
            return [] if announced is None else [Masked(self._masked_message(*announced), None)]
        data = self._mask(vector)
        digest = hashlib.sha256(data).digest()
        if announced is not None and announced != (digest, len(data)):
            member, t, attempt = self.at
            raise SpoolLostError(
                f"{member} t={t} try={attempt}: another vector was announced under these masks"
            )
        if announced is None:
            self._party.store.put(self._key("masked"), digest + len(data).to_bytes(8, "big"))
        return [Masked(self._masked_message(digest, len(data)), data)]

    @property
    def announced(self) -> tuple[bytes, int] | None:
        """Digest and length of the masked vector that was made in this try, before or after a restart."""
        stored = self._party.store.get(self._key("masked"))
        return None if stored is None else (stored[:32], int.from_bytes(stored[32:], "big"))

    def _mask(self, vector: Ring) -> bytes:
        assert self._ctx is not None
        assert self._secrets is not None
        name, ctx, run_key = self._party.name, self._ctx, self._party.run_key
        masks = [Mask(context.blind_key(run_key, ctx, name))]
        masks.append(Mask(context.self_key(self._secrets.self_secret, ctx)))
        for peer in self._senders:
            if peer != name:
                masks.append(Mask(self._pair_keys[peer], context.pair_sign(name, peer)))
        return masked(vector, run_key, ctx, masks)

    def _on_survivors(self, silos: tuple[str, ...]) -> list[Effect]:
        if self._ctx is None or not self._senders:
            return []
        if not (self._masked.keys() & set(self._senders)) >= set(silos) or len(silos) < self._party.need:
            return self._refuse(FaultReason.SURVIVOR_SET_INVALID, "the survivors are too few or sent nothing")
        self._survivors = silos
        if self._party.name not in silos or not self._taking_part:
            return []
        announced = self.announced
        if announced is None or announced[0] != self._masked[self._party.name]:
            return self._refuse(
                FaultReason.SURVIVOR_SET_INVALID, "the upload under my name is not the one that I made"
            )
        member, t, _ = self.at
        ledger, record = self._party.ledger_key(member, t), encode(list(silos))
        recorded = self._party.store.get(ledger)
        if recorded is not None and recorded != record:
            return self._refuse(
                FaultReason.SURVIVOR_SET_BURNT, "another survivor set of this t was signed before"
            )
        # Durable before the signature leaves: two sums that differ by one silo would reveal its update.
        self._party.store.put(ledger, record)
        self._accepted = True
        return [self._party.pen.post(Kind.ACCEPT, {"ctx": self._ctx, "silos": list(silos)}, self.at)]

    def _on_accept(self, message: Message) -> list[Effect]:
        body = message.body
        if body["ctx"] != self._ctx or tuple(body["silos"]) != self._survivors:
            return [Ignored(message.slot, "it signs another survivor set or context")]
        if message.slot.sender not in self._survivors:
            return [Ignored(message.slot, "its sender is no survivor")]
        self._accepts.add(message.slot.sender)
        if len(self._accepts) < self._party.tau or not self._accepted or self._revealed:
            return []
        self._revealed = True
        return self._reveal()

    def _reveal(self) -> list[Effect]:
        """Shares of survivors' self masks, pair seeds of dropped senders; the survivor set parts the two
        for good."""
        effects: list[Effect] = []
        shares: dict[str, bytes] = {}
        for dealer in self._survivors:
            try:
                shares[dealer] = self._share_of(dealer)
            except (SealError, SignatureError) as error:
                effects.append(Ignored(self._shares[dealer].slot, f"its share is unusable: {error}"))
        pairs = {silo: self._pair_keys[silo] for silo in self._senders if silo not in self._survivors}
        return [*effects, self._party.pen.post(Kind.REVEAL, {"self": shares, "pair": pairs}, self.at)]

    def _share_of(self, dealer: str) -> bytes:
        """This silo's share of the dealer's b, with the dealer's signature: 97 bytes."""
        name = self._party.name
        if dealer == name:
            return self._dealt[name]
        message = self._shares[dealer]
        assert self._ctx is not None
        signed = unseal(
            message.body["sealed"].get(name, b""),
            key=self._party.sealing,
            slot=message.slot.encode(),
            salt=self._ctx,
        )
        verify_share(signed, self._party.peers[dealer].signing, self._ctx, dealer, name)
        return signed

    def _on_aggregate(self, message: Message) -> list[Effect]:
        if self._ctx is None:
            return []
        if not self._survivors or tuple(message.body["silos"]) != self._survivors:
            return self._refuse(FaultReason.SURVIVOR_SET_INVALID, "the sum is not over the survivors")
        self.digest = message.body["digest"].hex()
        return [Fetch(self.digest, *self.at)]

    def on_sum(self, data: bytes) -> list[Effect]:
        """Unblind the sum, check it, lift it to signed numbers."""
        assert self._ctx is not None
        if hashlib.sha256(data).hexdigest() != self.digest:
            return self._failed_check("the sum is not the blob that was announced")
        try:
            total = opened(data, self._party.run_key, self._ctx, self._survivors)
        except ValueError as error:
            return self._failed_check(str(error))
        if total is None:
            return self._failed_check("the checksum of the sum does not hold")
        return [Summed(*self.at, total, self._survivors)]

    def _failed_check(self, detail: str) -> list[Effect]:
        return self._party.pen.fault(FaultReason.CHECK_FAILED, detail, self.at)

    def _masked_message(self, digest: bytes, length: int) -> Message:
        return self._party.pen.write(
            Kind.MASKED, {"digest": digest, "length": length}, self.at, [digest.hex()]
        )

    def _refuse(self, reason: FaultReason, detail: str) -> list[Effect]:
        self._taking_part = False
        return self._party.pen.fault(reason, detail, self.at)

    def _key(self, what: str) -> str:
        return self._party.key(*self.at, what)
