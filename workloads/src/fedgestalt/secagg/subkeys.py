"""Keys that leave the protocol: subkeys by purpose, never K_run or K_epoch themselves."""

from __future__ import annotations

from typing import Final

from fedgestalt.crypto.keys import Purpose, derive
from fedgestalt.secagg.effects import SecretStore
from fedgestalt.secagg.errors import SessionError

_OWN: Final = frozenset(
    {
        Purpose.RUN, Purpose.EPOCH, Purpose.CONFIRM, Purpose.BLIND, Purpose.CHECK, Purpose.PAIR, Purpose.SELF,
        Purpose.SEAL,
    }
)  # fmt: skip


def subkey(key: bytes, h: bytes, purpose: str) -> bytes:
    """A 32-byte subkey of ``key``.

    Raises:
        SessionError: ``purpose`` is the protocol's own.
    """
    if purpose in _OWN:
        raise SessionError(f"purpose {purpose!r} is the protocol's own")
    return derive(key, salt=h, purpose=purpose)


def epoch_subkey(store: SecretStore, h: bytes, purpose: str) -> bytes:
    """A 32-byte subkey of the K_epoch that began with the enrolment ``h``, as the store keeps it.

    Raises:
        SessionError: the store has no such epoch, or ``purpose`` is the protocol's own.
    """
    key = store.get(epoch_entry(h))
    if key is None:
        raise SessionError("this silo holds no key of that epoch")
    return subkey(key, h, purpose)


def epoch_entry(h: bytes) -> str:
    """Where the store keeps K_epoch. It outlives the round, so it is not among the round's secrets."""
    return f"epoch/{h.hex()}"
