"""Sealing to a peer: ephemeral X25519, HKDF, AES-256-GCM (docs/reference/protocol.md, section Keys).

Every sealed text has an ephemeral key, and so an encryption key, of its own: the nonce is zero. It is
bound to the slot of the message that carries it, to both public keys and to the salt (h or ctx), so a
relay cannot move it. Who sealed it is told by the signature of that message, not by the seal.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedgestalt.crypto.errors import SealError, SignatureError
from fedgestalt.crypto.keys import KEY_BYTES, AgreementKey, Purpose, derive

OVERHEAD: Final = KEY_BYTES + 16
_NONCE: Final = bytes(12)


def seal(plaintext: bytes, *, recipient: bytes, slot: bytes, salt: bytes, seed: bytes) -> bytes:
    """Encrypt ``plaintext`` so that only ``recipient`` (X25519 public key) can read it.

    Args:
        plaintext: any bytes.
        recipient: 32 bytes.
        slot: canonical encoding of the slot of the carrying message.
        salt: h or ctx.
        seed: 32 fresh secret bytes, the ephemeral key; used for this one text only.

    Returns:
        ephemeral public key (32) || ciphertext || tag (16).

    Raises:
        SealError: the recipient's key is malformed or of low order.
    """
    ephemeral = AgreementKey.from_seed(seed)
    key = _key(ephemeral, recipient, ephemeral.public, recipient, slot, salt)
    return ephemeral.public + AESGCM(key).encrypt(_NONCE, plaintext, slot)


def unseal(sealed: bytes, *, key: AgreementKey, slot: bytes, salt: bytes) -> bytes:
    """Decrypt what was sealed to ``key`` for this slot and salt.

    Raises:
        SealError: altered, cut, or sealed to another key, slot or salt.
    """
    if len(sealed) < OVERHEAD:
        raise SealError("a sealed text is cut short")
    ephemeral, ciphertext = sealed[:KEY_BYTES], sealed[KEY_BYTES:]
    shared = _key(key, ephemeral, ephemeral, key.public, slot, salt)
    try:
        return AESGCM(shared).decrypt(_NONCE, ciphertext, slot)
    except InvalidTag as error:
        raise SealError("a sealed text was altered, or sealed to another key, slot or salt") from error


def _key(
    own: AgreementKey, peer: bytes, ephemeral: bytes, recipient: bytes, slot: bytes, salt: bytes
) -> bytes:
    try:
        secret = own.agree(peer)
    except SignatureError as error:
        raise SealError(str(error)) from error
    return derive(secret, salt=salt, purpose=Purpose.SEAL, extra=ephemeral + recipient + slot)
