"""Keys: a site's Ed25519 identity, signing keys, X25519 agreement, HKDF by purpose.

Sources: RFC 8032 (Ed25519), RFC 7748 (X25519), RFC 5869 (HKDF); docs/reference/protocol.md, section Keys.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedgestalt.crypto.errors import KeyFileError, SignatureError
from fedgestalt.files import write_atomic

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

Rng = Callable[[int], bytes]


class Purpose(StrEnum):
    """What a derived key is for. Two purposes never share a key."""

    RUN = "run"
    EPOCH = "epoch"
    CONFIRM = "confirm"
    BLIND = "blind"
    CHECK = "check"
    PAIR = "pair"
    SELF = "self"
    SEAL = "seal"
    FRAME = "frame"
    TOKEN = "token"
    BUNDLE = "bundle"
    EPOCH_CHECK = "epoch-check"
    DISCOVERY = "discovery"


def derive(secret: bytes, *, salt: bytes, purpose: str, extra: bytes = b"", length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA-256 (RFC 5869) of ``secret`` with ``info = "fedgestalt/<purpose>/v1" || extra``."""
    info = f"fedgestalt/{purpose}/v1".encode() + extra
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def fingerprint(public_key: bytes) -> bytes:
    """SHA-256 of a raw 32-byte public key."""
    return hashlib.sha256(public_key).digest()


def key_id(public_key: bytes) -> bytes:
    """The first 8 bytes of the fingerprint: the ``kid`` of messages."""
    return fingerprint(public_key)[:8]


@dataclass(frozen=True, repr=False)
class SigningKey:
    """An Ed25519 private key. Its repr shows only the fingerprint of the public half."""

    _private: Ed25519PrivateKey

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of a 32-byte seed (RFC 8032, section 5.1.5)."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def generate(cls, rng: Rng = secrets.token_bytes) -> SigningKey:
        """A fresh key."""
        return cls.from_seed(rng(KEY_BYTES))

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self._private.public_key().public_bytes_raw()

    @property
    def private_key(self) -> Ed25519PrivateKey:
        """The key object, for libraries that sign themselves (JWTs, certificates)."""
        return self._private

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature of ``data``; deterministic."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({fingerprint(self.public).hex()[:16]})"


class Identity(SigningKey):
    """The long-lived key of a site or of the hub, kept in a PEM file (PKCS #8, mode 0600)."""

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """The identity of a 32-byte seed."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def generate(cls, rng: Rng = secrets.token_bytes) -> Identity:
        """A fresh identity."""
        return cls.from_seed(rng(KEY_BYTES))

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read a PEM file.

        Raises:
            KeyFileError: absent, not an unencrypted Ed25519 key, or readable by group or others.
        """
        try:
            data = path.read_bytes()
            mode = path.stat().st_mode
        except OSError as error:
            raise KeyFileError(
                f"{path}: {error.strerror}. Make an identity first, or mend the path."
            ) from error
        if os.name == "posix" and mode & 0o077:
            raise KeyFileError(
                f"{path}: mode {mode & 0o777:04o} lets others read the key. Run: chmod 600 {path}"
            )
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError) as error:
            raise KeyFileError(f"{path}: not an unencrypted private key in PEM form.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{path}: a {type(key).__name__} where an Ed25519 key is needed.")
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the PEM file atomically with mode 0600."""
        pem = self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_atomic(path, pem, mode=0o600)


def verify_signature(public_key: bytes, signature: bytes, data: bytes) -> None:
    """Check an Ed25519 signature.

    Raises:
        SignatureError: it does not hold, or key or signature are malformed.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError("the signature does not hold for this key and content") from error


@dataclass(frozen=True, repr=False)
class AgreementKey:
    """An X25519 private key."""

    _private: X25519PrivateKey

    @classmethod
    def from_seed(cls, seed: bytes) -> AgreementKey:
        """The key of 32 random bytes (clamped as in RFC 7748, section 5)."""
        return cls(X25519PrivateKey.from_private_bytes(seed))

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self._private.public_key().public_bytes_raw()

    def agree(self, peer: bytes) -> bytes:
        """The 32-byte shared secret with ``peer``'s public key.

        Raises:
            SignatureError: the peer's key is malformed or of low order (the secret would be known to all).
        """
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError as error:
            raise SignatureError("a peer's X25519 key is malformed or of low order") from error
