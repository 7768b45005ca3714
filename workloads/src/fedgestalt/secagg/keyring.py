"""A silo's secrets: two kinds of 32-byte roots, written down before anything depends on them.

All secrets of an enrolment or of a try are derived from its root, so a restarted silo makes the same
bytes again, and deleting the root deletes them all.
"""

from __future__ import annotations

from fedgestalt.crypto.keys import AgreementKey, Rng, SigningKey, derive
from fedgestalt.secagg.effects import SecretStore
from fedgestalt.secagg.errors import SessionError

_ROOT_BYTES = 32


def stored_root(store: SecretStore, key: str) -> bytes | None:
    """The root under ``key``, or None if it was never drawn or is lost."""
    root = store.get(key)
    if root is not None and len(root) != _ROOT_BYTES:
        raise SessionError(f"the store's entry {key!r} is damaged")
    return root


def drawn_root(store: SecretStore, key: str, rng: Rng) -> bytes:
    """The root under ``key``; drawn and made durable if there is none."""
    root = stored_root(store, key)
    if root is None:
        root = rng(_ROOT_BYTES)
        if len(root) != _ROOT_BYTES:
            raise SessionError("the source of randomness gave the wrong number of bytes")
        store.put(key, root)
    return root


class _Root:
    def __init__(self, root: bytes) -> None:
        self._root = root

    def _derive(self, what: str, extra: bytes = b"", length: int = 32) -> bytes:
        return derive(self._root, salt=b"", purpose=f"root-{what}", extra=extra, length=length)

    def ephemeral(self, peer: str) -> bytes:
        """Seed of the ephemeral key that seals this root's one text to ``peer``."""
        return self._derive("ephemeral", peer.encode())


class EnrolmentSecrets(_Root):
    """Secrets of one silo in one enrolment attempt."""

    def __init__(self, root: bytes) -> None:
        super().__init__(root)
        self.signing = SigningKey.from_seed(self._derive("signing"))
        self.sealing = AgreementKey.from_seed(self._derive("sealing"))
        self.opening = self._derive("opening", length=64)
        """r_i: the silo's contribution to K_run (first half) and K_epoch (second half)."""
        self.nonce = self._derive("nonce")


class TrySecrets(_Root):
    """Secrets of one silo in one aggregation try."""

    def __init__(self, root: bytes) -> None:
        super().__init__(root)
        self.agreement = AgreementKey.from_seed(self._derive("agreement"))
        """s_i."""
        self.self_secret = self._derive("self-secret")
        """b_i."""
        self.share_seed = self._derive("share-seed")
