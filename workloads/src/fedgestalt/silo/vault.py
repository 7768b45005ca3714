"""K_epoch of every epoch that this silo belongs to: in the agent's private folder, never in a pod."""

from __future__ import annotations

from pathlib import Path

from fedgestalt.crypto.keys import Purpose
from fedgestalt.secagg.subkeys import epoch_entry, epoch_subkey
from fedgestalt.silo.store import DiskStore


class EpochVault:
    """Epoch keys by the handshake hash of the enrolment in which they were drawn; outlives rounds."""

    def __init__(self, path: Path) -> None:
        self._store = DiskStore(path)

    def put(self, epoch: bytes, key: bytes) -> None:
        """Keep K_epoch (32 bytes). The same again is no error."""
        self._store.put(epoch_entry(epoch), key)

    def get(self, epoch: bytes) -> bytes | None:
        """K_epoch itself, which leaves this process only sealed to an admitted newcomer."""
        return self._store.get(epoch_entry(epoch))

    def subkey(self, epoch: bytes, purpose: Purpose) -> bytes:
        """A 32-byte subkey of K_epoch.

        Raises:
            SessionError: this silo holds no key of that epoch.
        """
        return epoch_subkey(self._store, epoch, purpose)

    def close(self) -> None:
        """Close the file."""
        self._store.close()
