"""The keys that a reader of releases pins: the hub's, and the silos' identities."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

_LIMIT: Final = 1 << 20
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


class KeyInputError(Exception):
    """A file that is not the key, or the list of keys, that was asked for."""


def read_hub_key(path: Path) -> bytes:
    """A raw Ed25519 public key (32 bytes) from PEM or 64 hexadecimal digits.

    A private key in PEM form is accepted for its public half: on one machine the hub's key file is at hand.

    Raises:
        KeyInputError: the file holds something else.
    """
    data = _read(path)
    text = data.decode("ascii", errors="replace").strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    if "BEGIN" in text:
        try:
            key = (
                load_pem_private_key(data, password=None).public_key()
                if "PRIVATE KEY" in text
                else load_pem_public_key(data)
            )
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyInputError(f"{path}: not a key in PEM form that can be read") from error
        if isinstance(key, Ed25519PublicKey):
            return key.public_bytes_raw()
    raise KeyInputError(f"{path}: give the hub's Ed25519 public key, as PEM or as 64 hexadecimal digits")


def pinned_hub_key(folder: Path) -> bytes | None:
    """The hub's key that the site pinned when it stored the release (``release.json``); None where none lies there.

    Raises:
        KeyInputError: the file is damaged.
    """
    path = folder / "release.json"
    if not path.exists():
        return None
    try:
        key = json.loads(_read(path))["hubKey"]
    except (ValueError, KeyError, TypeError) as error:
        raise KeyInputError(f"{path}: names no hubKey; give --hub-key") from error
    if not isinstance(key, str) or not _HEX.fullmatch(key):
        raise KeyInputError(f"{path}: its hubKey is not 64 hexadecimal digits; give --hub-key")
    return bytes.fromhex(key)


def read_identities(path: Path) -> dict[str, bytes]:
    """Identity keys (32 bytes) by silo from JSON.

    Raises:
        KeyInputError: the file holds something else.
    """
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise KeyInputError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and _HEX.fullmatch(key) for key in content.values()
    ):
        raise KeyInputError(
            f"{path}: must be a JSON object, {{silo: 64 hexadecimal digits of its identity key}}"
        )
    return {str(name): bytes.fromhex(key) for name, key in content.items()}


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LIMIT:
            raise KeyInputError(f"{path}: too large for a key file")
        return path.read_bytes()
    except OSError as error:
        raise KeyInputError(f"{path}: {error.strerror}") from error
