"""The release that a round builds on, at this silo: in its own store, or, for a newcomer, verified from the board.

A newcomer verifies all that the release continues as well, back to the first one or to one that it has kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedgestalt.crypto.keys import Purpose
from fedgestalt.files import private_directory, write_atomic
from fedgestalt.lineage import LineageError, Parts, ReleaseStore, StoreError, successor_of, verify_chain
from fedgestalt.silo.bundle import bundle_digest, open_bundle
from fedgestalt.silo.outbox import Board
from fedgestalt.silo.vault import EpochVault

_MANIFEST, _COMPUTATION, _PROOF, _SEALED = "manifest.json", "computation.json", "proof.cbor", "bundle.sealed"


_OWN_BLOBS = 5
"""Before what the base continues: computation, vocabulary, and the base's manifest, computation and sealed bundle."""
_OTHERWISE = "the computation says of the base what its manifest does not"


class BaseError(Exception):
    """This silo cannot build on the release; reason and message may be read by the coordinator."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Base:
    """A release as a round's start.

    Attributes:
        digest: SHA-256 of its manifest, hex.
        manifest: its content.
        folder: where ``bundle/`` and, at a silo of the epoch, ``gallery.npz`` lie.
        member: whether this silo belongs to its epoch already.
    """

    digest: str
    manifest: Mapping[str, Any]
    folder: Path
    member: bool

    @property
    def epoch(self) -> bytes:
        """The epoch, 32 bytes."""
        return bytes.fromhex(self.manifest["epoch"])

    @property
    def epoch_check(self) -> bytes:
        """What K_epoch's check subkey must be, 32 bytes."""
        return bytes.fromhex(self.manifest["epochCheck"])

    @property
    def silos(self) -> tuple[str, ...]:
        """The silos of its epoch: those whose rows showed that they hold its extractor and its key."""
        return tuple(sorted(self.manifest["rows"]))

    @property
    def bundle(self) -> Path:
        """The extractor."""
        return self.folder / "bundle"

    def open(self, board: Board, round_uid: str, vault: EpochVault) -> None:
        """Decrypt the bundle that the board holds, once the epoch's key is there.

        Raises:
            BaseError: the key does not open it.
        """
        if self.bundle.exists():
            return
        key = vault.subkey(self.epoch, Purpose.BUNDLE)
        sealed = board.download(round_uid, self.manifest["bundle"]["digest"])
        open_bundle(sealed, key, self.epoch, self.bundle)
        found = f"sha256:{bundle_digest(self.bundle).hex()}"
        if found != self.manifest["bundle"]["plain"]:
            raise BaseError(
                "ReleaseUnverified", f"the release's bundle is {found}, its manifest says another"
            )


def load_base(
    computation: Mapping[str, Any],
    blobs: Sequence[str],
    *,
    silo: str,
    store: Path,
    work: Path,
    board: Board,
    hub_key: bytes,
) -> Base | None:
    """What the computation's ``base`` names; None for a round without.

    Args:
        computation: the frozen computation.
        blobs: digests (hex) that its message carries: see :data:`_OWN_BLOBS`, then manifest, computation and proof of each
            release that the base continues, nearest first; the last one is the base's own proof.
        silo: this silo.
        store: the site's releases.
        work: this round's private folder.
        board: where a newcomer gets it.
        hub_key: the site's pin.

    Raises:
        BaseError: a silo of the epoch that lost the release, or one that does not verify.
    """
    named = computation.get("base")
    if named is None:
        return None
    digest: str = named["digest"]
    if silo in named["silos"]:
        try:
            stored = ReleaseStore(store).get(digest)
        except StoreError as error:
            raise BaseError("ReleaseMissing", f"this site has lost release {digest[:12]}") from error
        base = Base(digest, json.loads(stored.read(_MANIFEST)), stored.folder, member=True)
        _check_named(base, computation, store)
        return base
    folder = private_directory(work / "base")
    round_uid = computation["round"]
    manifest = _fetched(board, round_uid, digest, folder / _MANIFEST)
    content = json.loads(manifest)
    frozen = _fetched(board, round_uid, content["computation"], folder / _COMPUTATION)
    proof = _fetched(board, round_uid, blobs[-1], folder / _PROOF)
    identities = {name: bytes.fromhex(key) for name, key in computation["silos"].items()}
    older, kept = blobs[_OWN_BLOBS:-1], ReleaseStore(store)

    def fetch(generation: int, wanted: str) -> Parts | None:
        named = older[3 * generation - 3 : 3 * generation]
        if len(named) < 3 or named[0] != wanted:
            return None
        place = private_directory(folder / wanted)
        names = (_MANIFEST, _COMPUTATION, _PROOF)
        return Parts(
            *(_fetched(board, round_uid, d, place / name) for d, name in zip(named, names, strict=True))
        )

    def pinned(wanted: str) -> bytes | None:
        try:
            return kept.get(wanted).read(_MANIFEST)
        except StoreError:
            return None

    try:
        verify_chain(
            Parts(manifest, frozen, proof), hub_key=hub_key, identities=identities, fetch=fetch, pinned=pinned
        )
    except LineageError as error:
        raise BaseError("ReleaseUnverified", str(error)) from error
    base = Base(digest, content, folder, member=False)
    if named["epoch"] != content["epoch"] or tuple(named["silos"]) != base.silos:
        raise BaseError("ReleaseUnverified", _OTHERWISE)
    return base


def _check_named(base: Base, computation: Mapping[str, Any], store: Path) -> None:
    """A hub must not put other names, keys or an older state of the epoch under a release that this silo knows."""
    named, roster = computation["base"], base.manifest["roster"]
    if named["epoch"] != base.manifest["epoch"] or tuple(named["silos"]) != base.silos:
        raise BaseError("ReleaseUnverified", _OTHERWISE)
    for silo, identity in computation["silos"].items():
        if silo in base.silos and roster[silo]["identity"] != identity:
            raise BaseError("ReleaseUnverified", f"{silo} has another identity than in the release")
    if computation["spec"]["operation"] != "Adopt":
        return
    kept = ReleaseStore(store)
    later = successor_of(kept, kept.get(base.digest))
    if later is not None:
        raise BaseError("ReleaseSuperseded", f"release {later[:12]} takes its place: adopt that one")


def _fetched(board: Board, round_uid: str, digest: str, path: Path) -> bytes:
    """A document of the base, from disk if it was fetched before; its digest is checked either way."""
    data = path.read_bytes() if path.exists() else board.download(round_uid, digest)
    if hashlib.sha256(data).hexdigest() != digest:
        raise BaseError("ReleaseUnverified", f"{path.name} of the base differs from its digest")
    write_atomic(path, data)
    return data
