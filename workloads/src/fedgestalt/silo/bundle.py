"""The sealed bundle: the extractor of a release as one encrypted blob that only the silos of its epoch can open.

Every silo of an epoch makes the same bytes from the same bundle, so they agree on its digest without sending it around,
and whichever of them uploads it first has uploaded it for all.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedgestalt.crypto.encoding import decode, encode
from fedgestalt.crypto.errors import EncodingError, SealError
from fedgestalt.crypto.keys import Purpose, derive
from fedgestalt.files import write_atomic

MANIFEST: Final = "manifest.json"
MAX_BYTES: Final = 4 << 30
_NAME: Final = re.compile(r"[a-z0-9][-a-z0-9._]{0,99}")


def bundle_digest(folder: Path) -> bytes:
    """SHA-256 of a bundle's manifest, which lists the digests of all its files: what names the bundle."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).digest()


def seal_bundle(folder: Path, key: bytes, epoch: bytes) -> bytes:
    """Encrypt a bundle's files under the epoch's bundle key with AES-256-GCM.

    The nonce is derived from key and content (as in SIV modes): one key seals different bundles under different nonces,
    and one bundle always to the same bytes. The whole bundle is held in memory, three times over at the peak.

    Args:
        folder: flat folder of files.
        key: subkey of K_epoch for bundles, 32 bytes.
        epoch: bound as associated data.
    """
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    text = encode(files)
    return _nonce(key, text) + AESGCM(key).encrypt(_nonce(key, text), text, epoch)


def open_bundle(sealed: bytes, key: bytes, epoch: bytes, folder: Path) -> None:
    """Decrypt into ``folder``, which appears whole or not at all.

    Raises:
        SealError: altered, of another epoch, or not a bundle.
    """
    try:
        text = AESGCM(key).decrypt(sealed[:12], sealed[12:], epoch)
        files = decode(text, limit=MAX_BYTES)
    except (InvalidTag, ValueError, EncodingError) as error:
        raise SealError("the sealed bundle was altered, or belongs to another epoch") from error
    if type(files) is not dict or any(
        type(v) is not bytes or not _NAME.fullmatch(k) for k, v in files.items()
    ):
        raise SealError("the sealed bundle holds something that is no bundle")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, data in files.items():
            write_atomic(temporary / name, data)
        temporary.rename(folder)
    except FileExistsError:
        pass  # an earlier call came so far before it was killed
    except OSError:
        if not (folder / MANIFEST).exists():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _nonce(key: bytes, text: bytes) -> bytes:
    return derive(key, salt=hashlib.sha256(text).digest(), purpose=Purpose.BUNDLE, extra=b"/nonce", length=12)
