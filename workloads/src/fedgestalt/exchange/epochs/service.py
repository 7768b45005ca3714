"""Answers queries: the store's rows held in indexes, every question counted before it is answered."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fedgestalt.crypto.errors import SignatureError
from fedgestalt.exchange.epochs.cases import Cases, cases_of, gallery_rows
from fedgestalt.exchange.epochs.letters import Post
from fedgestalt.exchange.epochs.parts import MAX_PART_BYTES
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.epochs.tombstone import Tombstone
from fedgestalt.exchange.epochs.values import Budget, Cause, EpochRecord, Setup, Taken
from fedgestalt.exchange.errors import BudgetSpentError, Code, EpochUnknownError, refused
from fedgestalt.flake.chance import Chance
from fedgestalt.flake.discovery import discover
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.finding import Cluster
from fedgestalt.flake.index import GalleryIndex, Match
from fedgestalt.flake.mask import UNIT_TOLERANCE
from fedgestalt.flake.rows import RowLimits, SiloRows, UndiagnosedRows

LOOKS: Final = 3
"""How often clusters are looked for at once while cases go meanwhile."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: the release it is of, its matches, and what is left of the asker's budget."""

    release: str
    matches: tuple[Match, ...]
    left: Budget


def query_tag(key: bytes, epoch: str, silo: str, row: bytes) -> bytes:
    """What is kept of a query, so that a repeated one is not counted twice: HMAC-SHA-256 under the client's own key.

    The key comes with the query and is not kept: without it the tag says nothing about the row, not even to
    somebody who can guess the row.
    """
    return hmac.new(key, b"\0".join([epoch.encode(), silo.encode(), row]), hashlib.sha256).digest()


class EpochService:
    """The query service over a store. Safe for threads. An index is made when it is needed first, or by `warm`."""

    def __init__(self, store: EpochStore) -> None:
        self.store = store
        # Held over a change of the store and of the index, so that no answer names a row that is gone.
        self._lock = threading.Lock()
        self._indexes: dict[str, GalleryIndex] = {}

    def warm(self) -> None:
        """Make the indexes of all epochs, so that no clinic's question waits for that. For a thread at the start."""
        try:
            for epoch, setup in self.store.setups():
                with self._lock:
                    self._index(epoch, setup)
        except sqlite3.ProgrammingError:
            return  # the store was closed meanwhile
        except EpochUnknownError:
            return self.warm()  # one was ended meanwhile

    def member(self, epoch: str, silo: str, identity: bytes | None) -> EpochRecord:
        """The epoch, for one of its members.

        Raises:
            RefusedError: EpochUnknown or NotInEpoch.
        """
        record = self.store.record(epoch)
        if identity is None or record.members.get(silo) != identity:
            raise refused(Code.NOT_IN_EPOCH, f"silo {silo!r} in epoch {epoch[:16]}")
        return record

    def open(
        self, epoch: str, release: str, members: dict[str, bytes], budget: Budget, *, now: float
    ) -> tuple[str, ...]:
        """Open or update an epoch; see :meth:`EpochStore.put_epoch`."""
        with self._lock:
            departed = self.store.put_epoch(epoch, release, members, budget, now=now)
            for silo in departed:
                if epoch in self._indexes:
                    self._indexes[epoch].remove_owner(silo)
            return departed

    def close_epoch(self, epoch: str) -> None:
        """Forget an epoch and its rows."""
        with self._lock:
            self._indexes.pop(epoch, None)
            self.store.delete_epoch(epoch)

    def end_epoch(self, epoch: str, successor: str, *, now: float) -> None:
        """End an epoch for good: release ``successor`` (hex) took its place; see :meth:`EpochStore.end_epoch`."""
        with self._lock:
            self._indexes.pop(epoch, None)
            self.store.end_epoch(epoch, successor, now=now)

    def ingest(self, epoch: str, owner: str, digest: str, blob: bytes | memoryview, *, now: float) -> Taken:
        """Take the rows of a round's blob into the epoch: gallery and undiagnosed cases. Test rows are counted only.

        Goes on where a crash ended it: what is there already is not counted again.

        Raises:
            RefusedError: EpochUnknown, NotInEpoch, RowsInvalid, HandleTaken or BudgetSpent.
        """
        record = self.store.record(epoch)
        if owner not in record.members:
            raise refused(Code.NOT_IN_EPOCH, f"silo {owner!r} in epoch {epoch[:16]}")
        if self.store.ingested(epoch, owner, digest):
            return Taken(0, 0)
        try:
            found = SiloRows.decode(blob)
            found.check_lengths()
            parts = [part for cases in cases_of(found) for part in cases.parts()]
        except FlakeError as error:
            raise refused(Code.ROWS_INVALID, str(error)) from error
        _require_setup(record, found, first=True)
        tests = len(found.test.rows)
        with self._spending(epoch, owner, now):
            self.store.require_budget(epoch, owner, parts, tests)
            self.store.set_setup(epoch, Setup(found.width, found.fingerprint))
            taken = [self._take(epoch, owner, [part], strict=False) for part in parts]
            self.store.finish(epoch, owner, digest, tests)
        with self._lock:  # here, and not in the first question
            self._index(epoch, Setup(found.width, found.fingerprint)).prepare()
        return sum(taken, Taken(0, 0))

    def add(self, epoch: str, silo: str, identity: bytes | None, data: bytes, *, now: float) -> Taken:
        """Take a member's incremental rows (at most 1 MiB) into the epoch.

        Raises:
            RefusedError: EpochUnknown, NotInEpoch, EpochEmpty, RowsInvalid, HandleTaken, HandleWithdrawn or BudgetSpent.
        """
        record = self.member(epoch, silo, identity)
        try:
            found = SiloRows.decode(data, RowLimits(rows=MAX_PART_BYTES // 8, bytes=MAX_PART_BYTES))
            found.check_lengths()
            parts = cases_of(found)
        except FlakeError as error:
            raise refused(Code.ROWS_INVALID, str(error)) from error
        _require_setup(record, found, first=False)
        if len(found.test.rows):
            raise refused(Code.ROWS_INVALID, "test rows are for a round's evaluation; an epoch takes none")
        with self._spending(epoch, silo, now):
            return self._take(epoch, silo, parts, strict=True)

    def ask(
        self, epoch: str, silo: str, identity: bytes | None, row: bytes, key: bytes, *, now: float
    ) -> Answered:
        """Answer a member's query: float64 little-endian numbers of one masked row. Counted before it is answered.

        Raises:
            RefusedError: EpochUnknown, NotInEpoch, EpochEmpty, RowsInvalid or BudgetSpent.
        """
        record = self.member(epoch, silo, identity)
        setup = require_rows(record)
        if len(row) != 8 * setup.width:
            raise refused(
                Code.ROWS_INVALID, f"a query of this epoch has {8 * setup.width} bytes, not {len(row)}"
            )
        query = np.frombuffer(row, "<f8").astype(np.float64, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            length = float(np.sqrt(query @ query))
        if not abs(length - 1.0) <= UNIT_TOLERANCE:  # NaN compares as false
            text = f"the query is not of length one within {UNIT_TOLERANCE}; mask a unit embedding"
            raise refused(Code.ROWS_INVALID, text)
        with self._spending(epoch, silo, now):
            left = self.store.charge_query(epoch, silo, query_tag(key, epoch, silo, row), now=now)
        with self._lock:
            matches = self._index(epoch, setup).query(query, exclude=silo)
        return Answered(record.release, matches, left)

    def withdraw(self, tombstone: Tombstone, signature: bytes, identity: bytes | None, *, now: float) -> int:
        """Remove a member's withdrawn cases at once, keep its statement, and mark the epoch as due for rotation.

        Raises:
            RefusedError: EpochUnknown, NotInEpoch, SignatureInvalid or QuotaExceeded.
        """
        epoch, owner = tombstone.epoch, tombstone.owner
        member = self.member(epoch, owner, identity).members[owner]
        try:
            tombstone.verify(member, signature)
        except SignatureError as error:
            raise refused(Code.SIGNATURE_INVALID, f"the tombstone of {owner!r}: {error}") from error
        with self._lock:
            removed = self.store.withdraw(tombstone, signature, member, now=now)
            if epoch in self._indexes:
                self._indexes[epoch].remove(owner, tombstone.handles)
        return removed

    def discover(self, epoch: str) -> int:
        """Look for clusters among the undiagnosed cases, keep what each owner is told, and return how many there are.

        A case that goes while this goes on is in no cluster that is kept: it is looked for anew then, and left to the hub's
        next look if cases go all the time.

        Raises:
            RefusedError: EpochUnknown, EpochEmpty, or RowsInvalid: more undiagnosed rows than can be compared.
        """
        for _ in range(LOOKS):
            look = self.store.begin_look(epoch)
            try:
                clusters = self._clusters(epoch)
            except FlakeError as error:
                raise refused(Code.ROWS_INVALID, str(error)) from error
            if self.store.put_clusters(epoch, clusters, look):
                return len(clusters)
        return 0

    def _clusters(self, epoch: str) -> list[Cluster]:
        setup = require_rows(self.store.record(epoch))
        held: dict[str, list[Cases]] = {}
        for owner, part in self.store.gallery(epoch, setup.width):
            held.setdefault(owner, []).append(part)
        chance = Chance.measure({owner: gallery_rows(setup, parts).gallery for owner, parts in held.items()})
        found = self.store.undiagnosed(epoch, setup.width)
        rows = {owner: UndiagnosedRows(cases.rows, cases.handles) for owner, cases in found.items()}
        return discover(rows, chance, key=self.store.discovery_secret(epoch))

    def findings(self, epoch: str, silo: str, identity: bytes | None) -> list[dict[str, Any]]:
        """What a member is told of clusters that its cases are in.

        Raises:
            RefusedError: EpochUnknown, NotInEpoch.
        """
        self.member(epoch, silo, identity)
        return self.store.findings(epoch, silo)

    def write_letters(
        self,
        epoch: str,
        silo: str,
        identity: bytes | None,
        handle: bytes,
        key: bytes,
        letters: Mapping[bytes, bytes],
    ) -> None:
        """Keep a member's letters to the other owners of a finding (`fedgestalt.flake.consent`) in place of its earlier ones.

        Raises:
            RefusedError: EpochUnknown, NotInEpoch, FindingUnknown or Invalid.
        """
        self.member(epoch, silo, identity)
        self.store.write_letters(epoch, silo, handle, key, letters)

    def read_letters(self, epoch: str, silo: str, identity: bytes | None, handle: bytes) -> Post:
        """The keys of a finding's owners and their letters to a member, noise where there are none.

        Raises:
            RefusedError: EpochUnknown, NotInEpoch or FindingUnknown.
        """
        self.member(epoch, silo, identity)
        return self.store.read_letters(epoch, silo, handle)

    def _take(self, epoch: str, owner: str, parts: Sequence[Cases], *, strict: bool) -> Taken:
        with self._lock:
            taken, stored = self.store.take(epoch, owner, parts, strict=strict)
            index = self._indexes.get(epoch)
            if index is not None:
                try:
                    for cases, fresh in zip(parts, stored, strict=True):
                        _update(index, owner, cases, fresh)
                except BaseException:
                    del self._indexes[epoch]  # made anew from what is stored
                    raise
            return taken

    def _index(self, epoch: str, setup: Setup) -> GalleryIndex:
        index = self._indexes.get(epoch)
        if index is None:
            self.store.record(epoch)  # it may have ended since the caller looked
            index = GalleryIndex(setup.width, setup.fingerprint)
            for owner, cases in self.store.gallery(epoch, setup.width):
                assert cases.tokens is not None
                index.put(owner, cases.rows, cases.tokens, cases.handles)
            index.prepare()
            self._indexes[epoch] = index
        return index

    def gallery(self, epoch: str, owner: str) -> bytes:
        """An owner's gallery for the kernel job of an Adopt round: the encoding of `SiloRows`, in one split, no tests.

        Raises:
            RefusedError: EpochUnknown, EpochEmpty.
        """
        setup = require_rows(self.store.record(epoch))
        found = [cases for _, cases in self.store.gallery(epoch, setup.width, owner)]
        return gallery_rows(setup, found).encode()

    @contextmanager
    def _spending(self, epoch: str, silo: str, now: float) -> Iterator[None]:
        """A budget that is found spent makes the epoch due for rotation."""
        try:
            yield
        except BudgetSpentError:
            self.store.mark_due(epoch, Cause.BUDGET_SPENT, silo, now=now)
            raise


def _update(index: GalleryIndex, owner: str, cases: Cases, which: Sequence[int]) -> None:
    """Bring an index up to date with some of the cases that were stored."""
    if cases.tokens is None:  # a diagnosis may have been taken back
        index.remove(owner, [cases.handles[i].tobytes() for i in which])
    elif which:
        index.put(owner, cases.rows[which], cases.tokens[which], cases.handles[which])


def require_rows(record: EpochRecord) -> Setup:
    """The setup of an epoch that has rows.

    Raises:
        RefusedError: EpochEmpty.
    """
    if record.setup is None:
        raise refused(Code.EPOCH_EMPTY, f"epoch {record.epoch[:16]}")
    return record.setup


def _require_setup(record: EpochRecord, rows: SiloRows, *, first: bool) -> None:
    # Only rows that come through the hub's round may be the first: a silo's would bind the others to its frame.
    setup = Setup(rows.width, rows.fingerprint) if first and record.setup is None else require_rows(record)
    if (rows.width, rows.fingerprint) != (setup.width, setup.fingerprint):
        raise refused(
            Code.ROWS_INVALID,
            f"rows of width {rows.width} and frame {rows.fingerprint.hex()}, the epoch's have width "
            f"{setup.width} and frame {setup.fingerprint.hex()}",
        )
