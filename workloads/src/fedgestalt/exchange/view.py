"""A round's board in memory, kept up to date: for the hub, which needs to know when blobs are complete."""

from __future__ import annotations

from dataclasses import replace

from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.errors import ExchangeError
from fedgestalt.exchange.listing import Entry


class BoardView:
    """All entries of one round. Not safe for threads: one view per reader."""

    def __init__(self, client: BoardClient, round_uid: str) -> None:
        self._client, self._round = client, round_uid
        self._revision = 0
        self._entries: list[Entry] = []

    @property
    def entries(self) -> list[Entry]:
        """Entries in the board's order; ``entries[k].seq == k + 1``."""
        return list(self._entries)

    def refresh(self, wait: float = 0.0) -> list[Entry]:
        """Entries that are new or became complete; waits up to ``wait`` seconds (at most 25) for one.

        Raises:
            BoardRewoundError: see :meth:`BoardClient.listing`.
            OSError: where the chain stands could not be written down.
        """
        changed: list[Entry] = []
        while True:
            after = len(self._entries)
            try:
                listing = self._client.listing(self._round, after=after, since=self._revision, wait=wait)
            except (ExchangeError, OSError):
                if changed:  # what came is not lost to the caller; the error comes again at the next call
                    return changed
                raise
            for seq in listing.completed:
                if seq <= after and not self._entries[seq - 1].complete:
                    self._entries[seq - 1] = replace(self._entries[seq - 1], complete=True)
                    changed.append(self._entries[seq - 1])
            self._entries.extend(listing.entries)
            changed.extend(listing.entries)
            self._revision = listing.revision
            if len(self._entries) >= listing.head or not listing.entries:
                return changed
            wait = 0.0
