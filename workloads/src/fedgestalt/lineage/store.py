"""Releases on a disk: one folder each, whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedgestalt.files import private_directory
from fedgestalt.lineage.errors import ManifestError, ProofError, StoreError
from fedgestalt.lineage.manifest import Manifest
from fedgestalt.lineage.proof import Proof

MANIFEST: Final = "manifest.json"
COMPUTATION: Final = "computation.json"
PROOF: Final = "proof.cbor"
SEALED: Final = "bundle.sealed"
PARENT: Final = "parent.json"
LEAST_PREFIX: Final = 4
_PARTS: Final = (MANIFEST, COMPUTATION, PROOF)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class StoredRelease:
    """A release in a store.

    Attributes:
        folder: where it lies.
        manifest: parsed; its digest is the folder's name.
        created: when it was stored, seconds since the Unix epoch.
    """

    folder: Path
    manifest: Manifest
    created: float

    @property
    def digest(self) -> str:
        """The release's name, 64 hexadecimal digits."""
        return self.manifest.digest

    def read(self, part: str) -> bytes:
        """The bytes of ``manifest.json``, ``computation.json`` or ``proof.cbor``.

        Raises:
            StoreError: it is not there.
        """
        try:
            return (self.folder / part).read_bytes()
        except OSError as error:
            raise StoreError(f"{self.folder / part}: {error.strerror}. Fetch the release again") from error


class ReleaseStore:
    """The releases below a folder (mode 0700), each in a folder named by its digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(
        self,
        manifest: bytes,
        computation: bytes,
        proof: bytes,
        *,
        files: Mapping[str, bytes | Path] | None = None,
    ) -> StoredRelease:
        """Store a release; storing it again adds at most files that were not beside it yet. It is not verified here.

        Args:
            manifest, computation, proof: the exact bytes.
            files: what lies beside them, by name: bytes, or the path of a file or folder to copy (``bundle.sealed``,
                ``bundle``, ``gallery.npz``, ...).

        Raises:
            StoreError: the parts are not of one release, or another content is stored under its digest.
        """
        extra = dict(files or {})
        parsed = _fitting(manifest, computation, proof, extra)
        final = self.folder / parsed.digest
        parts: dict[str, bytes | Path] = {MANIFEST: manifest, COMPUTATION: computation, PROOF: proof}
        if not final.exists():
            private_directory(self.folder)
            temporary = self.folder / f".{parsed.digest[:16]}.{secrets.token_hex(4)}"
            temporary.mkdir(mode=0o700)
            try:
                for name, content in {**parts, **extra}.items():
                    _write(temporary / name, content)
                _sync_directory(temporary)
                temporary.rename(final)
            except FileExistsError:
                pass  # another process stored it meanwhile: compared below
            except OSError:
                if (
                    not final.exists()
                ):  # a rename onto a folder that is not empty has its own error on each system
                    raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            _sync_directory(self.folder)
        for leftover in self.folder.glob(f".{parsed.digest[:16]}.*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        stored = self.get(parsed.digest)
        for name, content in extra.items():
            if not (final / name).exists():
                self._add(final / name, content)
        for name in (COMPUTATION, PROOF):
            if stored.read(name) != parts[name]:
                raise StoreError(
                    f"{final / name} differs from what was to be stored: verify the release there, and remove the folder "
                    "if that fails"
                )
        return stored

    def get(self, digest: str) -> StoredRelease:
        """A release by its full digest.

        Raises:
            StoreError: it is not here, or its manifest does not have that digest.
        """
        folder = self.folder / digest
        if not _DIGEST.fullmatch(digest) or not folder.is_dir():
            raise StoreError(
                f"{self.folder} has no release {digest}: list them with `fedgestalt release list`"
            )
        path = folder / MANIFEST
        try:
            manifest, created = Manifest.parse(path.read_bytes()), path.stat().st_mtime
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}. Fetch the release again") from error
        except ManifestError as error:
            raise StoreError(f"{path}: {error}") from error
        if manifest.digest != digest:
            raise StoreError(
                f"{path} is not the manifest of the release that its folder names: fetch it again"
            )
        return StoredRelease(folder, manifest, created)

    def list(self) -> tuple[tuple[StoredRelease, ...], tuple[str, ...]]:
        """All releases, oldest first, parents before children; and what is wrong with folders that hold none."""
        found, damaged = [], []
        for digest in self._digests():
            try:
                found.append(self.get(digest))
            except StoreError as error:
                damaged.append(str(error))
        return tuple(release for _, release in tree(found)), tuple(damaged)

    def resolve(self, reference: str) -> StoredRelease:
        """A release by its digest, by a beginning of it (at least 4 digits), or by its round's name.

        Raises:
            StoreError: none or several fit; the message lists what there is.
        """
        reference = reference.removeprefix("sha256:")
        if _DIGEST.fullmatch(reference):
            return self.get(reference)
        releases, damaged = self.list()
        fitting = [r for r in releases if r.manifest.name == reference]
        if not fitting and len(reference) >= LEAST_PREFIX:
            fitting = [r for r in releases if r.digest.startswith(reference)]
        if len(fitting) == 1:
            return fitting[0]
        choice = ", ".join(f"{r.digest[:12]} ({r.manifest.name})" for r in (fitting or releases)) or "none"
        also = f" Damaged: {'; '.join(damaged)}." if damaged else ""
        word = "several releases fit" if fitting else "no release fits"
        raise StoreError(f"{word} {reference!r} in {self.folder}; there: {choice}.{also}")

    def _add(self, path: Path, content: bytes | Path) -> None:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            _write(temporary, content)
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)

    def _digests(self) -> Iterator[str]:
        if self.folder.is_dir():
            yield from sorted(item.name for item in self.folder.iterdir() if _DIGEST.fullmatch(item.name))


def tree(releases: list[StoredRelease]) -> list[tuple[int, StoredRelease]]:
    """Releases with their depth: each under its first parent that is among them, siblings by time of creation."""
    there = {release.digest for release in releases}
    below: dict[str | None, list[StoredRelease]] = {}
    for release in sorted(releases, key=lambda r: (r.created, r.digest)):
        parent = next((p for p in release.manifest.parents if p in there), None)
        below.setdefault(parent, []).append(release)
    ordered: list[tuple[int, StoredRelease]] = []
    waiting = [(0, release) for release in reversed(below.get(None, []))]
    while waiting:
        depth, release = waiting.pop()
        ordered.append((depth, release))
        waiting.extend((depth + 1, child) for child in reversed(below.get(release.digest, [])))
    return ordered


def _fitting(
    manifest: bytes, computation: bytes, proof: bytes, files: Mapping[str, bytes | Path]
) -> Manifest:
    try:
        parsed = Manifest.parse(manifest)
        Proof.parse(proof)
    except (ManifestError, ProofError) as error:
        raise StoreError(str(error)) from error
    if hashlib.sha256(computation).hexdigest() != parsed.computation:
        raise StoreError(f"release {parsed.digest[:12]}: its manifest names another computation")
    if SEALED in files and parsed.bundle is not None and _sha256(files[SEALED]) != parsed.bundle.sealed:
        raise StoreError(f"release {parsed.digest[:12]}: its manifest names another sealed bundle")
    for name in files:
        if name in _PARTS or Path(name).name != name or name.startswith("."):
            raise StoreError(f"{name!r} cannot be the name of a file beside a release's manifest")
    return parsed


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, content: bytes | Path) -> None:
    """Write or copy, each file synced: mode 0600, folders 0700."""
    if isinstance(content, Path) and content.is_dir():
        path.mkdir(mode=0o700)
        for item in sorted(content.iterdir()):
            _write(path / item.name, item)
        _sync_directory(path)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
