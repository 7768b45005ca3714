"""A release as it lies at the silo: verified against digests and signatures, then loaded."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake import FlakeError, Frame, label_token, rotate
from fedgestalt.lineage import Manifest, ManifestError, VerificationError, verify
from fedgestalt.lineage.proof import MAX_BYTES as PROOF_BYTES
from fedgestalt.lineage.store import COMPUTATION, MANIFEST, PARENT, PROOF
from fedgestalt.models.bundle import Bundle, BundleError, load_bundle
from fedgestalt.serving import documents
from fedgestalt.serving.documents import ReleaseError, parse, read_bytes
from fedgestalt.serving.local_gallery import GalleryFile

__all__ = ["Release", "ReleaseError", "load_release"]

_log = logging.getLogger(__name__)
_PRIVATE: Final = 0o077


@dataclass(frozen=True)
class Release:
    """What inference needs of a release, in memory.

    Attributes:
        digest: SHA-256 of the manifest, hex: the release's name.
        name: what its round is called.
        operation: Train, Adopt or Rotate.
        parents: digests of the releases it comes from.
        epoch: whose frame and tokens it uses.
        silo: this site's name in the federation.
        bundle: the verified ensemble.
        gallery: the silo's own cases.
        federation_gallery: photos of all silos that the round's kernel compared, by the manifest.
        names: CURIE -> name, where the vocabulary has one.
        tokens: label token -> CURIE, over vocabulary and own gallery.
        frame: the epoch's secret isometry.
    """

    digest: str
    name: str
    operation: str
    parents: tuple[str, ...]
    epoch: str
    silo: str
    bundle: Bundle
    gallery: GalleryFile
    federation_gallery: int
    names: Mapping[str, str]
    tokens: Mapping[bytes, str] = field(repr=False)
    frame: Frame

    def rotate(self, embedding: NDArray[np.float64]) -> NDArray[np.float64]:
        """The row that may leave the silo, float64 ``[frame.width]``, of an embedding of length one, ``[d]``.

        The frame is drawn anew (0.02 s for 1,024 numbers, 0.7 s for the paper's 6,144): its matrix would take minutes
        to make and 302 MB to keep at that width.
        """
        row: NDArray[np.float64] = rotate(embedding[None], self.frame)[0]
        return row


def load_release(folder: Path, hub_key: bytes | None = None) -> Release:
    """Verify the folder and load it.

    Checked before anything is built: manifest.json has the digest that release.json names; the proof under it holds
    offline (`fedgestalt.lineage.verify`) with the hub's pinned key; the bundle has the digest that the manifest names
    and every file in it its own.

    Args:
        folder: below the site's releases/.
        hub_key: the hub's Ed25519 public key, 32 bytes, as the site pins it; that of release.json if left out.

    Raises:
        ReleaseError: a file is missing, damaged, open to others or does not go with the rest; the message says which.
    """
    path = folder / "release.json"
    about = parse(path, read_bytes(path), documents.RELEASE)
    manifest = _manifest(folder, about, hub_key or bytes.fromhex(about["hubKey"]))
    if manifest.bundle is None:
        raise ReleaseError(f"{folder / MANIFEST}: names no bundle. Serve a release that has one.")
    path = folder / "keys.json"
    raw = read_bytes(path)
    mode = path.stat().st_mode
    if os.name == "posix" and mode & _PRIVATE:
        raise ReleaseError(
            f"{path}: mode {mode & 0o777:04o} lets others read the keys. Run: chmod 600 {path}"
        )
    keys = parse(path, raw, documents.KEYS)
    path = folder / "vocabulary.json"
    vocabulary = parse(path, read_bytes(path), documents.VOCABULARY)
    try:
        bundle = load_bundle(folder / "bundle", manifest.bundle.plain)
    except BundleError as error:
        raise ReleaseError(str(error)) from error
    dim = bundle.ensemble.embedding_dim
    gallery = GalleryFile(folder / "gallery.npz", dim)
    syndromes = {*vocabulary["trained"], *vocabulary["rare"], *gallery.current().syndromes}
    try:
        frame = Frame.derive(bytes.fromhex(keys["frame"]), dim, keys["width"])
        token_key = bytes.fromhex(keys["token"])
        tokens = {label_token(token_key, syndrome): syndrome for syndrome in syndromes}
    except FlakeError:  # its text may quote an entry
        raise ReleaseError(
            f"{folder}: a syndrome of vocabulary.json or gallery.npz is not of the form PREFIX:ID, or keys.json has "
            f"a width below {dim}. Fetch the release again."
        ) from None
    return Release(
        digest=manifest.digest,
        name=manifest.name,
        operation=manifest.operation,
        parents=manifest.parents,
        epoch=manifest.epoch,
        silo=about["silo"],
        bundle=bundle,
        gallery=gallery,
        federation_gallery=sum(rows.gallery for rows in manifest.rows.values()),
        names=dict(vocabulary.get("names", {})),
        tokens=tokens,
        frame=frame,
    )


def _manifest(folder: Path, about: Mapping[str, Any], hub_key: bytes) -> Manifest:
    raw, computation = (read_bytes(folder / name) for name in (MANIFEST, COMPUTATION))
    proof = read_bytes(folder / PROOF, PROOF_BYTES)
    found = hashlib.sha256(raw).hexdigest()
    if found != about["digest"]:
        raise ReleaseError(
            f"{folder / MANIFEST}: has digest {found}, release.json names {about['digest']}. It was altered or "
            "is another release's: fetch the release again."
        )
    try:
        parent = _parent(folder, Manifest.parse(raw))
        verified = verify(raw, computation, proof, hub_key=hub_key, identities=None, parent=parent)
    except ManifestError as error:
        raise ReleaseError(f"{folder / MANIFEST}: {error}") from error
    except VerificationError as error:
        first, more = error.problems[0], len(error.problems) - 1
        others = f" and {more} more" if more else ""
        raise ReleaseError(
            f"{folder}: {first}{others}. Fetch the release again; `fedgestalt release verify` says all."
        ) from error
    if verified.manifest.epoch != about["epoch"]:
        raise ReleaseError(
            f"{folder / 'release.json'}: epoch {about['epoch'][:16]} where the manifest has "
            f"{verified.manifest.epoch[:16]}. Fetch the release again."
        )
    for said in verified.unpinned:
        _log.info("release %s: %s", found[:16], said)
    return verified.manifest


def _parent(folder: Path, manifest: Manifest) -> bytes | None:
    """The manifest of the release that this one continues: beside it in the site's store, or kept by a newcomer."""
    folder = folder.resolve()
    beside = [folder.parent / digest / MANIFEST for digest in manifest.parents]
    return next((read_bytes(path) for path in [*beside, folder / PARENT] if path.is_file()), None)
