"""Masked vectors on their way out: written and synced before their digest is signed, sent as often as it takes.

Recomputing a masked vector under the same masks with other content would be a two-time pad, so what was announced is
either sent from here byte for byte or given up with its try.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from fedgestalt.files import private_directory, write_atomic


class Spool:
    """Blobs by their SHA-256 in a private folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = private_directory(directory)

    def path(self, digest: str) -> Path:
        """Where the blob of ``digest`` (hex) lies, whether or not it is there."""
        return self._directory / digest

    def add(self, data: bytes) -> str:
        """Write and sync ``data``; return its digest (hex)."""
        digest = hashlib.sha256(data).hexdigest()
        if not self.path(digest).exists():
            write_atomic(self.path(digest), data)
        return digest

    def drop(self, digest: str) -> None:
        """Forget a blob that is no longer needed."""
        self.path(digest).unlink(missing_ok=True)
