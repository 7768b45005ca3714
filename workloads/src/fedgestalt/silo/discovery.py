"""A hospital's side of discovery: its findings, whom it would let contact it, and who answered.

What the hospital decides is written down here and nowhere else. The agent carries it in letters that it writes anew to all
owners of all findings every few minutes, decided or not: so the hub sees neither who consents nor when.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedgestalt.crypto.encoding import decode, encode
from fedgestalt.crypto.errors import CryptoError, SignatureError
from fedgestalt.crypto.keys import Identity, Purpose, verify_signature
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import Code, EpochUnknownError, ExchangeError, RefusedError
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.files import private_directory, write_atomic
from fedgestalt.flake.consent import CONTACT_BYTES, Correspondent, Letter, Word
from fedgestalt.flake.finding import Finding
from fedgestalt.lineage import ReleaseStore, StoredRelease
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.lock import site_lock
from fedgestalt.silo.vault import EpochVault

MOST_CONTACT: Final = 300
"""Bytes of a contact's text; the rest of `CONTACT_BYTES` holds the hospital's name and signature."""
_PREFIX: Final = b"fedgestalt/discovery-contact/v1"
_GONE: Final = (Code.NOT_IN_EPOCH, Code.FINDING_UNKNOWN)


class DiscoveryError(Exception):
    """A finding that is not known, or a contact that cannot be used; the message says how to mend it."""


@dataclass(frozen=True)
class Contact:
    """Another owner that consented as this one did: the hospital, by its identity in the release, and what it wrote."""

    silo: str
    text: str


@dataclass(frozen=True)
class Standing:
    """How a finding stands at this hospital, as of the agent's last letters.

    Attributes:
        handle: of the finding, hex.
        consent: the contact that this hospital offers; None if it does not consent.
        asked: how many others consent.
        contacts: those of them who have answered.
    """

    handle: str
    consent: str | None
    asked: int
    contacts: tuple[Contact, ...]


class Decisions:
    """What this hospital decided on the findings of one epoch, and what came of it, in a private file."""

    def __init__(self, site: SiteConfig, epoch: str) -> None:
        self._folder = private_directory(site.directory / "discovery")
        self._path = self._folder / f"{epoch}.json"

    def consent(self, handle: str, contact: str) -> None:
        """Offer a contact to those who offer theirs. Repeating it replaces the text.

        Raises:
            DiscoveryError: a text that is empty or too long.
        """
        if not 0 < len(contact.encode()) <= MOST_CONTACT:
            raise DiscoveryError(
                f"a contact has 1 to {MOST_CONTACT} bytes, not {len(contact.encode())}: a name and an address are enough"
            )
        with self._changing() as content:
            content["consents"][handle] = contact

    def withdraw(self, handle: str) -> Standing:
        """Take a consent back; return how the finding stood before: those who asked may have read the contact."""
        before = self.standing(handle)
        with self._changing() as content:
            content["consents"].pop(handle, None)
        return before

    def received(self, handle: str, asked: int, contacts: Sequence[Contact]) -> None:
        """Write down what the last letters said. A contact stays, once it was read."""
        with self._changing() as content:
            known = {c["silo"]: c for c in content["seen"].get(handle, {"contacts": []})["contacts"]}
            known |= {c.silo: {"silo": c.silo, "text": c.text} for c in contacts}
            content["seen"][handle] = {"asked": asked, "contacts": [known[name] for name in sorted(known)]}

    def standing(self, handle: str) -> Standing:
        """How a finding stands."""
        content = self._read()
        seen = content["seen"].get(handle, {"asked": 0, "contacts": []})
        contacts = tuple(Contact(c["silo"], c["text"]) for c in seen["contacts"])
        return Standing(handle, content["consents"].get(handle), seen["asked"], contacts)

    def _read(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._path.read_text())
        except FileNotFoundError:
            content = {"consents": {}, "seen": {}}
        return content

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        with site_lock(self._folder):
            content = self._read()
            yield content
            write_atomic(self._path, json.dumps(content, indent=2).encode())


def connect(site: SiteConfig, *, deadline: float = 30.0) -> EpochClient:
    """The query service, as this hospital.

    Raises:
        KeyFileError, ExchangeError: its identity or the exchange's certificate cannot be used.
    """
    credential = KeyCredential(Identity.load(site.identity_file), Role.SILO, site.name, site.hub_key)
    return EpochClient(site.exchange_url, site.ca_file, credential, deadline=deadline)


def find(findings: Sequence[Finding], reference: str) -> str:
    """The handle (hex) of the finding that a beginning of it names.

    Raises:
        DiscoveryError: none or several.
    """
    handles = [finding.handle.hex() for finding in findings]
    fitting = [handle for handle in handles if reference and handle.startswith(reference.lower())]
    if len(fitting) != 1:
        there = ", ".join(handle[:12] for handle in handles) or "none"
        raise DiscoveryError(
            f"{len(fitting)} findings begin with {reference!r}; there: {there}. See `fedgestalt discovery list`."
        )
    return fitting[0]


def refresh(site: SiteConfig, *, deadline: float = 30.0) -> int:
    """Read and write the letters of all findings of all epochs that answer; how many findings there are.

    Raises:
        DiscoveryError: the hub does not answer, or a file of the site cannot be used; call again later.
    """
    done = 0
    vault = EpochVault(site.state / "epochs.sqlite")
    try:
        identity = Identity.load(site.identity_file)
        with connect(site, deadline=deadline) as client:
            for epoch, release in latest(site).items():
                if vault.get(bytes.fromhex(epoch)) is not None:
                    group = vault.subkey(bytes.fromhex(epoch), Purpose.DISCOVERY)
                    done += _Correspondence(site, identity, client, release, group).refresh()
    except (ExchangeError, CryptoError, OSError) as error:
        raise DiscoveryError(f"the letters of discovery: {error}") from error
    finally:
        vault.close()
    return done


def latest(site: SiteConfig) -> dict[str, StoredRelease]:
    """The newest release of each epoch that this hospital has."""
    return {release.manifest.epoch: release for release in ReleaseStore(site.releases).list()[0]}


class _Correspondence:
    """The letters of one epoch."""

    def __init__(
        self, site: SiteConfig, identity: Identity, client: EpochClient, release: StoredRelease, group: bytes
    ) -> None:
        self._site, self._identity, self._client, self._group = site, identity, client, group
        self._epoch, self._roster = release.manifest.epoch, release.manifest.roster
        self._secret = site.seed_file.read_bytes()
        self._decisions = Decisions(site, self._epoch)

    def refresh(self) -> int:
        try:
            findings = self._client.findings(self._epoch)
        except EpochUnknownError:
            return 0  # rotated, or not opened yet
        except RefusedError as error:
            if error.code in _GONE:
                return 0  # this silo has departed
            raise
        for finding in findings:
            try:
                self._exchange(finding)
            except RefusedError as error:
                if error.code not in _GONE:  # a withdrawal may have come in between
                    raise
        return len(findings)

    def _exchange(self, finding: Finding) -> None:
        own = Correspondent.of(self._secret, self._group, finding.handle)
        post = self._client.read_letters(self._epoch, finding.handle)
        if own.key not in post.keys:
            self._client.write_letters(self._epoch, finding.handle, own.key, {})
            post = self._client.read_letters(self._epoch, finding.handle)
        now, handle = time.time(), finding.handle.hex()
        received = own.read(post.letters, now=now)
        text = self._decisions.standing(handle).consent
        sign = None if text is None else self._signer(own.key, text)
        self._client.write_letters(
            self._epoch, finding.handle, own.key, own.write(post.keys, received, sign, now=now)
        )
        contacts = self._contacts(own.key, received) if text is not None else []
        self._decisions.received(handle, len(received), contacts)

    def _signer(self, own: bytes, text: str) -> Callable[[bytes], bytes]:
        def contact(key: bytes) -> bytes:
            signature = self._identity.sign(_stated(self._epoch, own, key, self._site.name, text))
            return encode({"silo": self._site.name, "text": text, "signature": signature})

        return contact

    def _contacts(self, own: bytes, received: Mapping[bytes, Letter]) -> list[Contact]:
        """The contacts whose signature is of the identity that the release has for the hospital they name."""
        found = []
        for key, letter in received.items():
            if letter.word is not Word.ANSWERS:
                continue
            try:
                content = decode(letter.contact, limit=CONTACT_BYTES)
                silo, text = content["silo"], content["text"]
                identity = bytes.fromhex(self._roster[silo].identity or "")
                verify_signature(identity, content["signature"], _stated(self._epoch, key, own, silo, text))
            except (CryptoError, SignatureError, KeyError, TypeError, ValueError):
                continue  # somebody of the epoch poses as another
            found.append(Contact(silo, text))
        return found


def _stated(epoch: str, sender: bytes, recipient: bytes, silo: str, text: str) -> bytes:
    return _PREFIX + encode([bytes.fromhex(epoch), sender, recipient, silo, text])


def names(release: StoredRelease, handles: Path) -> dict[str, str]:
    """Photos of a release by their handle (hex)."""
    path = release.folder / handles
    return {h: photo for photo, h in json.loads(path.read_text()).items()} if path.exists() else {}
