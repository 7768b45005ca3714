"""Which of the site's releases hold: what the agent, which has the files, tells the operator, which has not.

Each release is verified when it is new or a file of it has changed: manifest, proof and weights, by digest and signature,
under the hub's pinned key. Nothing is built, no key is read. The service verifies again whatever it loads.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fedgestalt.files import write_atomic
from fedgestalt.lineage import (
    ManifestError,
    ReleaseStore,
    StoredRelease,
    StoreError,
    VerificationError,
    verify,
)
from fedgestalt.lineage.bundle import PLAIN, check_bundle
from fedgestalt.lineage.findings import Finding, Problem
from fedgestalt.lineage.store import COMPUTATION, MANIFEST, PARENT, PROOF
from fedgestalt.silo.sources import SHARED_MODE
from fedgestalt_operator.api.reasons import VerifiedReason

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
_MAX_MESSAGE: Final = 512
_Mark = tuple[tuple[str, int, int, int], ...]


class ReleaseChecks:
    """Verifies the releases of one site; remembers what it found until a file changes. Not safe for threads."""

    def __init__(self, folder: Path, hub_key: bytes) -> None:
        """``folder``: the site's releases. ``hub_key``: Ed25519 public key, 32 bytes, as the site pins it."""
        self._store, self._hub_key = ReleaseStore(folder), hub_key
        self._found: dict[str, tuple[_Mark, VerifiedReason, str]] = {}

    def look(self) -> dict[str, Any]:
        """What the handover's ``releases.json`` says: by digest, a `VerifiedReason` and what is wrong.

        Raises:
            OSError: a file cannot be read now.
        """
        there = {path.name: path for path in self._store.folder.glob("[0-9a-f]*") if len(path.name) == 64}
        self._found = {digest: found for digest, found in self._found.items() if digest in there}
        for digest, folder in sorted(there.items()):
            mark = _mark(folder)
            if self._found.get(digest, ((),))[0] != mark:
                reason, message = self._check(digest)
                self._found[digest] = (mark, reason, message[:_MAX_MESSAGE])
                log.info("release %s: %s%s", digest[:12], reason, f": {message}" if message else "")
        return {
            "releases": {
                f"sha256:{digest}": {"reason": reason.value, "message": message}
                for digest, (_, reason, message) in sorted(self._found.items())
            }
        }

    def _check(self, digest: str) -> tuple[VerifiedReason, str]:
        try:
            release = self._store.get(digest)
        except StoreError as error:
            return VerifiedReason.DIGEST_MISMATCH, self._without_paths(error)
        try:
            parts = (release.read(part) for part in (MANIFEST, COMPUTATION, PROOF))
            verify(*parts, hub_key=self._hub_key, identities=None, parent=self._parent(release))
        except VerificationError as error:
            return VerifiedReason.PROOF_INVALID, self._first_of(error.problems)
        except (StoreError, ManifestError) as error:
            return VerifiedReason.PROOF_INVALID, self._without_paths(error)
        if problems := check_bundle(release.folder, release.manifest):
            return VerifiedReason.BUNDLE_MISMATCH, self._first_of(problems)
        return VerifiedReason.SIGNATURES_VALID, ""

    def _parent(self, release: StoredRelease) -> bytes | None:
        """The manifest of the release that this one continues: beside it, or kept by a newcomer."""
        beside = [self._store.folder / digest / MANIFEST for digest in release.manifest.parents]
        found = next((path for path in [*beside, release.folder / PARENT] if path.is_file()), None)
        return None if found is None else found.read_bytes()

    def _first_of(self, problems: Sequence[Problem]) -> str:
        """One problem often makes a dozen."""
        more = (
            f" (and {len(problems) - 1} more: `fedgestalt release verify` names all)" if problems[1:] else ""
        )
        first = problems[0]
        said = first.detail if first.finding is Finding.BUNDLE_MISMATCH else first
        return f"{self._without_paths(said)}{more}"

    def _without_paths(self, said: object) -> str:
        """Where the site keeps its files is nobody's business in the cluster."""
        return str(said).replace(f"{self._store.folder}/", "")


def _mark(folder: Path) -> _Mark:
    """Changes with any file that is verified."""
    paths = [folder / name for name in (MANIFEST, COMPUTATION, PROOF, PARENT)]
    bundle = folder / PLAIN
    paths += sorted(bundle.iterdir()) if bundle.is_dir() else []
    marks = []
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        marks.append((path.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(marks)


def keep_checked(checks: ReleaseChecks, path: Path, stopping: threading.Event) -> None:
    """Look every few seconds and keep the file at ``path`` as it should be, until ``stopping``."""
    written = b""
    while not stopping.is_set():
        try:
            data = json.dumps(checks.look(), sort_keys=True).encode()
            if data != written or not path.exists():
                write_atomic(path, data, mode=SHARED_MODE)
                written = data
        except Exception as error:
            # A thread that ended would leave the operator with an old word for good.
            log.warning("the releases could not be checked: %s", type(error).__name__, exc_info=error)
        stopping.wait(LOOK_SECONDS)
