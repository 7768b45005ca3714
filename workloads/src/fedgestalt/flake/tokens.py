"""Names under which the hub sees syndromes and photos: keyed, so that it cannot read or link them."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from fedgestalt.flake.errors import FlakeError

TOKEN_BYTES: Final = 16
MIN_KEY_BYTES: Final = 32
_CURIE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}:[A-Za-z0-9_.-]{1,64}")


def label_token(key: bytes, curie: str) -> bytes:
    """Return the label token of a syndrome: HMAC-SHA-256 (RFC 2104) cut to 16 bytes.

    Every silo of an epoch gets the same token for the same syndrome; without the key neither the syndrome nor
    the token of another epoch can be told from it. What it does not hide: how many rows share a token.

    Args:
        key: at least 32 secret bytes, the label subkey of K_epoch.
        curie: the syndrome as prefix:identifier, for example OMIM:147920.

    Raises:
        FlakeError: a short key, or a text that is not a CURIE.
    """
    if not _CURIE.fullmatch(curie):
        raise FlakeError(f"not a syndrome identifier of the form PREFIX:ID: {curie[:80]!r}")
    return _keyed(key, b"label", curie)


def photo_handle(key: bytes, photo: str) -> bytes:
    """Return the opaque 16-byte handle of a photo under a key that only its owner has.

    Args:
        key: at least 32 secret bytes of the site, fresh per epoch, so that handles do not link epochs.
        photo: the name of the photo inside the silo.
    """
    return _keyed(key, b"photo", photo)


def _keyed(key: bytes, purpose: bytes, text: str) -> bytes:
    if len(key) < MIN_KEY_BYTES:
        raise FlakeError(f"the {purpose.decode()} key needs at least {MIN_KEY_BYTES} bytes, not {len(key)}")
    message = b"fedgestalt/flake/" + purpose + b"/v1\0" + text.encode()
    return hmac.new(key, message, hashlib.sha256).digest()[:TOKEN_BYTES]
