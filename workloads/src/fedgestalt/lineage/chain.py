"""A release and everything that it continues, back to the first one: each verified, and compared with its parent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fedgestalt.lineage.errors import ChainError, LineageError, ManifestError, StoreError, VerificationError
from fedgestalt.lineage.manifest import Manifest
from fedgestalt.lineage.store import ReleaseStore, StoredRelease
from fedgestalt.lineage.verify import Verified, verify

MAX_GENERATIONS: Final = 64
"""Releases behind one that are followed. A Train round without a base begins a new chain."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The files of one release."""

    manifest: bytes
    computation: bytes
    proof: bytes


def ancestors(store: ReleaseStore, release: StoredRelease) -> Iterator[StoredRelease]:
    """What a release continues, nearest first, as far as the store has it and a chain may be long."""
    for _ in range(MAX_GENERATIONS):
        if not release.manifest.parents:
            return
        try:
            release = store.get(release.manifest.parents[0])
        except StoreError:
            return
        yield release


def verify_chain(
    release: Parts,
    *,
    hub_key: bytes,
    identities: Mapping[str, bytes],
    fetch: Callable[[int, str], Parts | None],
    pinned: Callable[[str], bytes | None] = lambda _: None,
) -> Verified:
    """Verify a release and all that it continues, up to the first one or to one that the caller holds already.

    Who is in a release and in its parent must have one identity in both, as silos ask of a round's base: a hub cannot give
    a true name to keys of its own further back. Who departed may come back with another identity.

    Args:
        release: the latest one.
        hub_key: the hub's Ed25519 public key (32 bytes) as the caller pins it, of all these releases.
        identities: identity keys (32 bytes) by silo, as the caller knows them.
        fetch: given how many generations back (from 1) and a digest (hex), the parts of that release; None if there are none.
        pinned: the manifest of a release that the caller verified before, by digest; there the chain ends.

    Returns:
        What is verified of the latest release.

    Raises:
        ChainError: names the release at which it breaks, how far back that is, and what is wrong there.
    """
    known, first, parts = dict(identities), None, release
    for generation in range(MAX_GENERATIONS + 1):
        try:
            manifest = Manifest.parse(parts.manifest)
            parent, older = _older(manifest, generation, fetch, pinned)
            verified = verify(
                parts.manifest,
                parts.computation,
                parts.proof,
                hub_key=hub_key,
                identities=known,
                parent=parent,
            )
        except (ManifestError, VerificationError) as error:
            raise _broken(parts, generation, error) from error
        first = first or verified
        known = dict(verified.identities)
        if older is None:
            return first
        parts = older
    raise ChainError(
        f"more than {MAX_GENERATIONS} releases stand behind it; "
        "a Train round without base begins a new chain, which newcomers can adopt"
    )


def _older(
    manifest: Manifest,
    generation: int,
    fetch: Callable[[int, str], Parts | None],
    pinned: Callable[[str], bytes | None],
) -> tuple[bytes | None, Parts | None]:
    """The parent's manifest, and its parts where it must be verified as well."""
    if not manifest.parents:
        return None, None
    digest = manifest.parents[0]
    held = pinned(digest)
    if held is not None:
        return held, None
    older = fetch(generation + 1, digest)
    if older is None:
        raise ChainError(
            f"release {digest[:12]}, {generation + 1} back, is missing: {manifest.digest[:12]} continues it"
        )
    if Manifest.parse(older.manifest).digest != digest:
        raise ChainError(f"release {digest[:12]}, {generation + 1} back: what was given has another digest")
    return older.manifest, older


def _broken(parts: Parts, generation: int, error: LineageError) -> ChainError:
    try:
        name = Manifest.parse(parts.manifest).digest[:12]
    except ManifestError:
        name = "of the chain"
    where = "" if generation == 0 else f", {generation} back"
    return ChainError(f"release {name}{where}: {error}")
