"""Which release took another's place, as the releases of one store tell it."""

from __future__ import annotations

from fedgestalt.lineage.store import ReleaseStore, StoredRelease


def rotated_by(store: ReleaseStore, epoch: str) -> StoredRelease | None:
    """The first release of the store that rotated ``epoch`` (hex), so that it answers no more; None if there is none."""
    releases = store.list()[0]
    epochs = {release.digest: release.manifest.epoch for release in releases}
    rotations = (
        release
        for release in releases
        if release.manifest.operation == "Rotate"
        and any(epochs.get(parent) == epoch for parent in release.manifest.parents)
    )
    return min(rotations, key=lambda release: (release.created, release.digest), default=None)


def successor_of(store: ReleaseStore, release: StoredRelease) -> str | None:
    """The release (hex) that newcomers adopt instead of this one: adopted in the same epoch, or its rotation."""
    epoch = release.manifest.epoch
    for later in store.list()[0]:
        if release.digest in later.manifest.parents and later.manifest.epoch == epoch:
            return later.digest
    rotation = rotated_by(store, epoch)
    return None if rotation is None else rotation.digest
