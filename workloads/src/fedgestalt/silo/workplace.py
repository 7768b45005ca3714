"""Where one round's work is done at one site: its private folder, its durable store, and its ways to the board."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from fedgestalt.crypto.keys import Identity
from fedgestalt.files import private_directory, write_atomic
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.models import ModelStore
from fedgestalt.silo.outbox import Board, Outbox
from fedgestalt.silo.spool import Spool
from fedgestalt.silo.store import DiskStore
from fedgestalt.silo.vault import EpochVault

FINISHED: Final = "finished"
_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Workplace:
    """Everything that a round's work at one site stands on. All of it is on disk or at the exchange."""

    uid: str
    site: SiteConfig
    identity: Identity
    board: Board
    vault: EpochVault
    directory: Path
    store: DiskStore
    spool: Spool
    outbox: Outbox
    models: ModelStore

    @classmethod
    def open(cls, uid: str, site: SiteConfig, identity: Identity, board: Board, vault: EpochVault) -> Self:
        """The workplace of a round, made if absent."""
        directory = private_directory(site.work / uid[:8])
        store, spool = DiskStore(site.state / f"{uid}.sqlite"), Spool(directory / "spool")
        outbox, models = Outbox(board, store, spool), ModelStore(directory / "models")
        return cls(uid, site, identity, board, vault, directory, store, spool, outbox, models)

    @property
    def finished(self) -> bool:
        """Whether the round is over here: its secrets are deleted, so it is never taken up again, whatever is asked."""
        return (self.directory / FINISHED).exists()

    def finish(self) -> None:
        """Write down that the round is over."""
        write_atomic(self.directory / FINISHED, b"")

    def forget(self) -> None:
        """Delete the round's secrets, also those of attempts that came to nothing."""
        _forget(self.store, self.uid)

    def first_seen(self, key: str, value: int) -> int:
        """A number that is written down once, so that a restarted agent derives the same statements from it."""
        known = self.store.get(key)
        if known is None:
            self.store.put(key, str(value).encode())
            return value
        return int(known)


def forget_finished(site: SiteConfig) -> list[str]:
    """Delete the secrets of rounds that are over: a kill may have come in between, and no task may ever name them again.

    Returns:
        The rounds' uids.
    """
    uids = [path.stem for path in sorted(site.state.glob("*.sqlite"))]
    over = [uid for uid in uids if (site.work / uid[:8] / FINISHED).exists()]
    for uid in over:
        store = DiskStore(site.state / f"{uid}.sqlite")
        _forget(store, uid)
        store.close()
    return over


def left_open(site: SiteConfig) -> list[str]:
    """Uids of the rounds that this site has begun and does not know the end of."""
    uids = (path.stem for path in sorted(site.state.glob("*.sqlite")))
    return [uid for uid in uids if _UID.fullmatch(uid) and not (site.work / uid[:8] / FINISHED).exists()]


def _forget(store: DiskStore, uid: str) -> None:
    store.delete(f"secagg/{uid}/")
