"""Contact by mutual consent: two owners of one cluster read each other's contact once both have asked for it.

Every owner of a finding keeps one letter of one length to each other owner's key in the hub's hands, and writes all of them
anew from time to time, whether it consents or not:

- who does not consent writes noise;
- who consents asks: the letter says so, and no more;
- who consents and was asked writes its contact.

So an owner sees how many others ask, never who; a contact goes to those who ask only; and consent is withdrawn by writing
noise again, of which nobody who has not read the contact by then learns anything but that somebody no longer asks.

The hub cannot tell these letters apart, nor put in one of its own: what is sealed between two keys is sealed under the
epoch's discovery key as well, which silos have and the hub has not. Since letters change at each writing, it cannot tell
either when an owner made up its mind. Keys are fresh for each finding; the hub passes them on ascending, filled up with its
own to the upper end of the band of owners (`Relay`), so that neither names nor the exact number come with them.

A letter says when it was written and is not believed for ever: a hub that gives out an old one cannot keep a consent alive that
was withdrawn longer than `MAX_AGE` ago.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedgestalt.crypto.errors import SignatureError
from fedgestalt.crypto.keys import KEY_BYTES, AgreementKey, derive
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.finding import OWNER_BANDS

#: The longest contact in bytes; shorter ones are padded.
CONTACT_BYTES: Final = 512
#: Seconds for which a letter is believed; also into the future, for clocks that differ.
MAX_AGE: Final = 14 * 86_400.0
_NONCE_BYTES: Final = 12
_HEAD: Final = struct.Struct(">BQH")
LETTER_LENGTH: Final = _NONCE_BYTES + _HEAD.size + CONTACT_BYTES + 16


class Word(IntEnum):
    """What a letter says."""

    ASKS = 1
    ANSWERS = 2


@dataclass(frozen=True)
class Letter:
    """A letter that could be opened; `contact` is empty unless `word` is `ANSWERS`. `at`: when it was written, Unix seconds."""

    word: Word
    at: float
    contact: bytes = field(repr=False)


@dataclass(frozen=True)
class Correspondent:
    """An owner of one finding."""

    _own: AgreementKey
    _group: bytes = field(repr=False)

    @classmethod
    def of(cls, site_key: bytes, group_key: bytes, finding: bytes) -> Self:
        """Make the owner of a finding.

        Args:
            site_key: 32 secret bytes that only this owner has.
            group_key: 32 bytes, a subkey of K_epoch that all silos of the epoch have and the hub has not.
            finding: `Finding.handle`.

        Raises:
            FlakeError: a short key.
        """
        if len(site_key) < KEY_BYTES or len(group_key) < KEY_BYTES:
            raise FlakeError(f"consent needs a site key and a group key of {KEY_BYTES} bytes each")
        seed = derive(site_key, salt=finding, purpose="discovery-consent")
        return cls(AgreementKey.from_seed(seed), group_key)

    @property
    def key(self) -> bytes:
        """The public key of this owner in this finding, 32 bytes; whether it consents does not show in it."""
        return self._own.public

    def write(
        self,
        keys: Sequence[bytes],
        received: Mapping[bytes, Letter],
        contact: Callable[[bytes], bytes] | None,
        *,
        now: float,
    ) -> dict[bytes, bytes]:
        """A letter of `LETTER_LENGTH` bytes to each other key; no two writings are alike.

        Args:
            keys: the hub's list, this owner's among them.
            received: what `read` found in the letters to this owner.
            contact: the contact for a key, 1 to `CONTACT_BYTES` bytes; None without consent.
            now: Unix seconds.

        Raises:
            FlakeError: a list that is not of distinct keys with the own one among them, or a contact of another length.
        """
        letters = {}
        for key in others(keys, self.key):
            if contact is None:
                letters[key] = secrets.token_bytes(LETTER_LENGTH)
            elif key in received:
                letters[key] = self._sealed(key, Word.ANSWERS, contact(key), now)
            else:
                letters[key] = self._sealed(key, Word.ASKS, b"", now)
        return letters

    def read(self, letters: Mapping[bytes, bytes], *, now: float) -> dict[bytes, Letter]:
        """The letters that consent, by the key that they are from. Noise and letters older than `MAX_AGE` are left out."""
        opened = ((key, self._opened(key, letter)) for key, letter in letters.items())
        return {key: found for key, found in opened if found is not None and abs(now - found.at) <= MAX_AGE}

    def _sealed(self, to: bytes, word: Word, contact: bytes, now: float) -> bytes:
        if len(contact) > CONTACT_BYTES or (word is Word.ANSWERS and not contact):
            raise FlakeError(f"a contact has 1 to {CONTACT_BYTES} bytes, not {len(contact)}")
        shared = self._shared(to, self.key, to)
        if shared is None:
            return secrets.token_bytes(LETTER_LENGTH)
        text = _HEAD.pack(word, int(now), len(contact)) + contact.ljust(CONTACT_BYTES, b"\0")
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(shared).encrypt(nonce, text, None)

    def _opened(self, sender: bytes, letter: bytes) -> Letter | None:
        shared = self._shared(sender, sender, self.key)
        if shared is None or len(letter) != LETTER_LENGTH:
            return None
        try:
            text = AESGCM(shared).decrypt(letter[:_NONCE_BYTES], letter[_NONCE_BYTES:], None)
            word, at, length = _HEAD.unpack_from(text)
            return Letter(Word(word), float(at), text[_HEAD.size :][:length])
        except (InvalidTag, ValueError):
            return None  # noise: no consent, a silence, or a key that the hub has filled up with

    def _shared(self, peer: bytes, sender: bytes, recipient: bytes) -> bytes | None:
        """The key of the letters of one direction; None for a key of low order, whose secret everyone would know."""
        try:
            secret = self._own.agree(peer)
        except SignatureError:
            return None
        return derive(secret + self._group, salt=b"", purpose="discovery-letter", extra=sender + recipient)


@dataclass(frozen=True)
class Relay:
    """The hub's part for one cluster: pass letters on, and fill up so that who is missing does not show.

    Attributes:
        owners: the cluster's owners.
    """

    owners: tuple[str, ...]
    _seed: bytes = field(repr=False)

    def keys(self, known: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """The list of keys that every owner gets, ascending.

        Args:
            known: the key of each owner that has given one.

        Raises:
            FlakeError: a key of somebody else, a malformed one or one that two owners gave.
        """
        if not set(known) <= set(self.owners):
            raise FlakeError("a key comes from somebody who has no case in this cluster")
        if len(set(known.values())) != len(known) or any(len(k) != KEY_BYTES for k in known.values()):
            raise FlakeError(f"keys have {KEY_BYTES} bytes and no two owners have the same")
        ends = [start - 1 for start in OWNER_BANDS[1:] if start > len(self.owners)]
        size = ends[0] if ends else -(-len(self.owners) // 16) * 16
        fill = [AgreementKey.from_seed(self._noise(b"fill%d" % i, KEY_BYTES)).public for i in range(size)]
        return tuple(sorted([*known.values(), *fill[len(known) :]]))

    def letters(
        self, owner: str, known: Mapping[str, bytes], sent: Mapping[str, Mapping[bytes, bytes]], turn: int
    ) -> dict[bytes, bytes]:
        """What ``owner`` gets from every other key: its letter, or noise where there is none.

        Args:
            owner: one that has given a key.
            known: as for `keys`.
            sent: each owner's letters, by recipient's key.
            turn: how often this owner has written: noise changes with it, as true letters do.
        """
        own = known[owner]
        letters = {known[name]: letters.get(own, b"") for name, letters in sent.items() if name in known}
        return {
            key: letters.get(key) or self._noise(b"%d" % turn + key + own, LETTER_LENGTH)
            for key in others(self.keys(known), own)
        }

    def _noise(self, what: bytes, length: int) -> bytes:
        return derive(self._seed, salt=b"", purpose="discovery-noise", extra=what, length=length)


def others(keys: Sequence[bytes], own: bytes) -> list[bytes]:
    """The other keys of a list.

    Raises:
        FlakeError: a list that does not hold the own key, or one twice.
    """
    if own not in keys or len(set(keys)) != len(keys) or any(len(key) != KEY_BYTES for key in keys):
        raise FlakeError("the hub's list of keys must hold this owner's key and no key twice; ask again")
    return [key for key in keys if key != own]
