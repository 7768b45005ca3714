"""Contact by mutual consent: owners of one cluster learn of each other only if at least three of them agree.

Each owner of a finding says yes or no once, behind keys that are fresh for this finding. Three messages go through
the hub, and each has one length whatever the owner said; who said no sends noise that only a key could tell apart:

1. **key**: an X25519 public key. The hub passes on all of them, ascending, filled up with keys of its own to the
   upper end of the band of owners (`Relay`), so that neither names nor the exact number come with them.
2. **pledge**: to each key a sealed "yes". An owner that agrees counts the pledges that it can open.
3. **contact**: if they are three with its own, the sealed contact, to those who have pledged and to nobody else.

The hub cannot tell yes from no, nor put in a key of its own: what is sealed between two keys is sealed under the
epoch's discovery key as well, which silos have and the hub has not. Silence is a no: the hub sends noise in its place.
What it does not do: keep a silo from agreeing with an empty contact, or a silo that works with the hub from posing as
several. Contacts should carry the owner's signature.

All messages are functions of the voter's fields and of what came in. They repeat byte for byte after a restart, or a
repeated noise would show itself by changing; an answer, once its key is sent, is therefore not changed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedgestalt.crypto.errors import SignatureError
from fedgestalt.crypto.keys import KEY_BYTES, AgreementKey, derive
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.finding import OWNER_BANDS

#: The fewest that must agree before any contact is sent.
MIN_AGREED: Final = OWNER_BANDS[0]
#: The longest contact, UTF-8 or any other bytes; shorter ones are padded.
CONTACT_BYTES: Final = 512
_NONCE_BYTES: Final = 12
_OVERHEAD: Final = _NONCE_BYTES + 16
_YES: Final = b"yes"
PLEDGE_LENGTH: Final = len(_YES) + _OVERHEAD
CONTACT_LENGTH: Final = 2 + CONTACT_BYTES + _OVERHEAD

Letters = Mapping[bytes, bytes]
"""What goes to, or came from, each key."""


@dataclass(frozen=True)
class Voter:
    """An owner and its answer to one finding.

    Attributes:
        agrees: yes or no.
        contact: what those who agree as well may read, at most `CONTACT_BYTES`.
    """

    agrees: bool
    contact: bytes = field(repr=False)
    _seed: bytes = field(repr=False)
    _group: bytes = field(repr=False)

    @classmethod
    def answer(
        cls, site_key: bytes, group_key: bytes, finding: bytes, *, agrees: bool, contact: bytes
    ) -> Self:
        """Make the voter of a finding.

        Args:
            site_key: 32 secret bytes that only this owner has.
            group_key: 32 bytes, a subkey of K_epoch that all silos of the epoch have and the hub has not.
            finding: `Finding.handle`.
            agrees: the owner's answer, for good.
            contact: whom to call; empty for a no.

        Raises:
            FlakeError: a short key, a contact that is too long, or none with a yes.
        """
        if len(site_key) < KEY_BYTES or len(group_key) < KEY_BYTES:
            raise FlakeError(f"consent needs a site key and a group key of {KEY_BYTES} bytes each")
        if len(contact) > CONTACT_BYTES or (agrees and not contact):
            raise FlakeError(f"a contact has 1 to {CONTACT_BYTES} bytes, not {len(contact)}")
        seed = derive(site_key, salt=finding, purpose="discovery-consent")
        return cls(agrees, contact if agrees else b"", seed, group_key)

    @property
    def key(self) -> bytes:
        """The first message: a public key, 32 bytes."""
        return self._own.public

    def pledges(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The second message: for each other key of the list a pledge, or noise.

        Raises:
            FlakeError: a list that is not of distinct keys with the own one among them.
        """
        return {key: self._letter(b"pledge", key, _YES, self.agrees) for key in self._others(keys)}

    def contacts(self, keys: Sequence[bytes], pledges: Letters) -> dict[bytes, bytes]:
        """The third message: for each other key the contact if both agree and enough do, else noise.

        Args:
            keys: the list that `pledges` was made for.
            pledges: what came from each of the other keys.
        """
        agreed = self._agreed(keys, pledges)
        text = len(self.contact).to_bytes(2, "big") + self.contact.ljust(CONTACT_BYTES, b"\0")
        return {key: self._letter(b"contact", key, text, key in agreed) for key in self._others(keys)}

    def opened(self, keys: Sequence[bytes], pledges: Letters, contacts: Letters) -> tuple[bytes, ...]:
        """The contacts of those who agree as this owner does, ascending; none if too few do or this one does not."""
        found = []
        for key in self._agreed(keys, pledges):
            text = self._open(b"contact", key, contacts.get(key, b""))
            if text is not None and len(text) == 2 + CONTACT_BYTES:
                found.append(text[2:][: int.from_bytes(text[:2], "big")])
        return tuple(sorted(found))

    @property
    def _own(self) -> AgreementKey:
        return AgreementKey.from_seed(self._seed)

    def _others(self, keys: Sequence[bytes]) -> list[bytes]:
        own = self.key
        if own not in keys or len(set(keys)) != len(keys) or any(len(key) != KEY_BYTES for key in keys):
            raise FlakeError("the hub's list of keys must hold this owner's key and no key twice; ask again")
        return [key for key in keys if key != own]

    def _agreed(self, keys: Sequence[bytes], pledges: Letters) -> frozenset[bytes]:
        others = self._others(keys)
        if not self.agrees:
            return frozenset()
        yes = frozenset(k for k in others if self._open(b"pledge", k, pledges.get(k, b"")) == _YES)
        return yes if 1 + len(yes) >= MIN_AGREED else frozenset()

    def _letter(self, what: bytes, to: bytes, text: bytes, honest: bool) -> bytes:
        shared = self._shared(what, self.key, to, to) if honest else None
        if shared is None:
            return noise(self._seed, what + to, len(text) + _OVERHEAD)
        # A synthetic nonce: should two texts ever be sealed under one key, they do not share their nonce.
        nonce = hmac.new(shared, b"nonce" + text, hashlib.sha256).digest()[:_NONCE_BYTES]
        return nonce + AESGCM(shared).encrypt(nonce, text, None)

    def _open(self, what: bytes, sender: bytes, letter: bytes) -> bytes | None:
        shared = self._shared(what, sender, self.key, sender)
        if shared is None or len(letter) < _OVERHEAD:
            return None
        try:
            return AESGCM(shared).decrypt(letter[:_NONCE_BYTES], letter[_NONCE_BYTES:], None)
        except InvalidTag:
            return None  # noise: a no, a silence, or a key that the hub has filled up with

    def _shared(self, what: bytes, sender: bytes, recipient: bytes, peer: bytes) -> bytes | None:
        """The key of one letter, by direction; None for a key of low order, whose secret everyone would know."""
        try:
            secret = self._own.agree(peer)
        except SignatureError:
            return None
        extra = what + sender + recipient
        return derive(secret + self._group, salt=b"", purpose="discovery-letter", extra=extra)


@dataclass(frozen=True)
class Relay:
    """The hub's part for one cluster: pass letters on, and fill up so that who is missing does not show.

    Attributes:
        owners: the cluster's owners.
    """

    owners: tuple[str, ...]
    _seed: bytes = field(repr=False)

    def keys(self, answers: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """The list of keys that every owner gets, ascending.

        Args:
            answers: the key of each owner that has answered by the deadline; the list does not change afterwards.

        Raises:
            FlakeError: an answer of somebody else, a malformed key or one that two owners gave.
        """
        if not set(answers) <= set(self.owners):
            raise FlakeError("an answer comes from an owner that has no case in this cluster")
        if len(set(answers.values())) != len(answers) or any(len(k) != KEY_BYTES for k in answers.values()):
            raise FlakeError(f"keys have {KEY_BYTES} bytes and no two owners have the same")
        ends = [start - 1 for start in OWNER_BANDS[1:] if start > len(self.owners)]
        size = ends[0] if ends else -(-len(self.owners) // 16) * 16
        fill = [
            AgreementKey.from_seed(noise(self._seed, b"fill%d" % i, KEY_BYTES)).public for i in range(size)
        ]
        return tuple(sorted([*answers.values(), *fill[len(answers) :]]))

    def letters(
        self, owner: str, answers: Mapping[str, bytes], sent: Mapping[str, Letters], length: int
    ) -> dict[bytes, bytes]:
        """What ``owner`` gets from every other key: its letter if it is there and so long, else noise.

        Args:
            owner: one that has answered.
            answers: as for `keys`.
            sent: what each owner has sent, by recipient's key.
            length: `PLEDGE_LENGTH` or `CONTACT_LENGTH`.
        """
        own = answers[owner]
        letters = {answers[name]: letters.get(own, b"") for name, letters in sent.items() if name in answers}
        passed = {}
        for key in self.keys(answers):
            letter = letters.get(key, b"")
            if key != own:
                fill = noise(self._seed, b"%d" % length + key + own, length)
                passed[key] = letter if len(letter) == length else fill
        return passed


def noise(seed: bytes, what: bytes, length: int) -> bytes:
    """Bytes that nobody without the seed can tell from a sealed letter, the same at every call."""
    return derive(seed, salt=b"", purpose="discovery-noise", extra=what, length=length)
