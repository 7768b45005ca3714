"""Everything of an epoch that survives a power cut: record, members, rows, budgets, withdrawals."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fedgestalt.exchange.epochs import cases as rows
from fedgestalt.exchange.epochs import ledger, letters, looks
from fedgestalt.exchange.epochs.cases import Cases
from fedgestalt.exchange.epochs.database import EpochDatabase
from fedgestalt.exchange.epochs.tombstone import Tombstone
from fedgestalt.exchange.epochs.values import Budget, Cause, EpochRecord, RotationDue, Setup, Taken
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.files import private_directory
from fedgestalt.flake.finding import Cluster

MAX_WITHDRAWN: Final = 1 << 18
"""Withdrawn handles of one owner in one epoch: more than it may have rows by default."""


_FORGOTTEN: Final = ("epochs", "members", "cases", "ingested", "asked", "rotation")
_OF_AN_EPOCH: Final = (
    *_FORGOTTEN,
    "ledger",
    "tombstones",
    "discovery",
    "looks",
    "findings",
    "clusters",
    "letters",
)


class EpochStore:
    """Epochs in a SQLite file below the exchange's directory. Safe for threads; each method is one transaction."""

    def __init__(self, directory: Path) -> None:
        """Open or make ``directory`` (mode 0700) and the file in it.

        Raises:
            ExchangeError: another version wrote it.
        """
        self.directory = private_directory(directory)
        self._db = EpochDatabase(self.directory / "epochs.sqlite")
        self._db.forget()  # what was withdrawn right before a crash may still be in the journal

    def put_epoch(
        self, epoch: str, release: str, members: Mapping[str, bytes], budget: Budget, *, now: float
    ) -> tuple[str, ...]:
        """Open an epoch, or bring release, members and budget up to date; return the silos that departed.

        The rows of a silo that departed go, and the epoch is due for rotation: the silo still knows its frame.

        Raises:
            RefusedError: EpochEnded: an epoch that was rotated is never opened again.
        """
        with self._db.write() as db:
            if ledger.ended(db, epoch) is not None:
                raise ledger.absent(db, epoch)
            before = {silo for (silo,) in db.execute("SELECT silo FROM members WHERE epoch = ?", (epoch,))}
            departed = tuple(sorted(before - members.keys()))
            db.execute(
                "INSERT INTO epochs VALUES (?, ?, ?, ?, NULL, NULL) ON CONFLICT (epoch) DO UPDATE SET release = "
                "excluded.release, row_budget = excluded.row_budget, query_budget = excluded.query_budget",
                (epoch, release, budget.rows, budget.queries),
            )
            for silo in departed:
                db.execute("DELETE FROM cases WHERE epoch = ? AND owner = ?", (epoch, silo))
                db.execute("DELETE FROM letters WHERE epoch = ? AND owner = ?", (epoch, silo))
                looks.take_out(db, epoch, silo)
                _due(db, epoch, Cause.DEPARTURE, silo, now)
            db.execute("DELETE FROM members WHERE epoch = ?", (epoch,))
            db.executemany(
                "INSERT INTO members VALUES (?, ?, ?)",
                [(epoch, silo, identity) for silo, identity in sorted(members.items())],
            )
        if departed:
            self._db.forget()
        return departed

    def record(self, epoch: str) -> EpochRecord:
        """An epoch without the counts of its rows.

        Raises:
            RefusedError: EpochUnknown.
        """
        with self._db.read() as db:
            return _record(db, epoch)

    def full_record(self, epoch: str) -> tuple[EpochRecord, dict[str, Budget]]:
        """An epoch with the counts of its rows, and what each member has spent.

        Raises:
            RefusedError: EpochUnknown.
        """
        with self._db.read() as db:
            found = _record(db, epoch)
            counted = rows.counts(db, epoch)
            spent = {silo: ledger.spent(db, epoch, silo) for silo in found.members}
        return replace(found, counts=counted), spent

    def delete_epoch(self, epoch: str) -> None:
        """Forget an epoch and its rows; it is no error if it is not there.

        Ledger and tombstones stay, so that an epoch that is opened again goes on counting.
        """
        with self._db.write() as db:
            for name in _FORGOTTEN:
                db.execute(f"DELETE FROM {name} WHERE epoch = ?", (epoch,))
        self._db.forget()

    def end_epoch(self, epoch: str, successor: str, *, now: float) -> None:
        """End an epoch for good, rows, budgets and findings with it; what asks for it is told the first ``successor``.

        The signed statements of withdrawal stay: they show what was promised, and name no row that is left.

        Args:
            successor: digest (hex) of the release that succeeds.
        """
        with self._db.write() as db:
            db.execute("INSERT OR IGNORE INTO ended VALUES (?, ?, ?)", (epoch, successor, now))
            for name in _OF_AN_EPOCH:
                db.execute(f"DELETE FROM {name} WHERE epoch = ?", (epoch,))
        self._db.forget()

    def ingested(self, epoch: str, owner: str, digest: str) -> bool:
        """Whether the rows of this blob were taken in before."""
        with self._db.read() as db:
            key = (epoch, owner, digest)
            sql = "SELECT 1 FROM ingested WHERE epoch = ? AND owner = ? AND digest = ?"
            return db.execute(sql, key).fetchone() is not None

    def require_budget(self, epoch: str, owner: str, parts: Sequence[Cases], tests: int) -> None:
        """Refuse rows that could be taken in only in part.

        Raises:
            RefusedError: EpochUnknown, HandleTaken or BudgetSpent.
        """
        with self._db.read() as db:
            fresh = sum(len(rows.changes(db, epoch, owner, part)[0]) for part in parts)
            limit, spent = ledger.budget(db, epoch), ledger.spent(db, epoch, owner)
        if spent.rows + fresh + tests > limit.rows:
            raise refused(
                Code.BUDGET_SPENT,
                f"silo {owner!r} has spent {spent.rows} of {limit.rows} rows of epoch {epoch[:16]}; "
                f"{fresh + tests} more do not fit",
            )

    def set_setup(self, epoch: str, setup: Setup) -> None:
        """Fix what the rows of an epoch have in common, once."""
        with self._db.write() as db:
            db.execute(
                "UPDATE epochs SET width = ?, fingerprint = ? WHERE epoch = ? AND width IS NULL",
                (setup.width, setup.fingerprint, epoch),
            )

    def setups(self) -> list[tuple[str, Setup]]:
        """The epochs that have had rows, with their setup."""
        sql = "SELECT epoch, width, fingerprint FROM epochs WHERE width IS NOT NULL ORDER BY epoch"
        with self._db.read() as db:
            return [(epoch, Setup(width, fingerprint)) for epoch, width, fingerprint in db.execute(sql)]

    def take(
        self, epoch: str, owner: str, parts: Sequence[Cases], *, strict: bool
    ) -> tuple[Taken, list[list[int]]]:
        """Store and count the cases that are new or changed; return which of each part those are as well.

        Args:
            strict: whether a withdrawn case is refused; if not, it is left out.

        Raises:
            RefusedError: EpochUnknown, HandleTaken, HandleWithdrawn or BudgetSpent; then nothing is stored.
        """
        taken, stored = Taken(0, 0), []
        with self._db.write() as db:
            for cases in parts:
                fresh, withdrawn = rows.changes(db, epoch, owner, cases)
                if withdrawn and strict:
                    name = cases.handles[withdrawn[0]].tobytes().hex()
                    raise refused(Code.HANDLE_WITHDRAWN, f"handle {name} in epoch {epoch[:16]}")
                ledger.charge(db, epoch, owner, rows=len(fresh))
                rows.put(db, epoch, owner, cases, fresh)
                present = len(cases.handles) - len(fresh) - len(withdrawn)
                taken += Taken(len(fresh), present, len(withdrawn))
                stored.append(fresh)
        return taken, stored

    def finish(self, epoch: str, owner: str, digest: str, tests: int) -> None:
        """Record that a blob was taken in and count its test rows, once.

        Raises:
            RefusedError: EpochUnknown or BudgetSpent.
        """
        with self._db.write() as db:
            key = (epoch, owner, digest)
            if db.execute("INSERT OR IGNORE INTO ingested VALUES (?, ?, ?)", key).rowcount:
                ledger.charge(db, epoch, owner, rows=tests)

    def charge_query(self, epoch: str, silo: str, tag: bytes, *, now: float) -> Budget:
        """Count a query durably and return what is left; see :func:`ledger.charge_query`."""
        with self._db.write() as db:
            return ledger.charge_query(db, epoch, silo, tag, now=now)

    def withdraw(self, tombstone: Tombstone, signature: bytes, identity: bytes, *, now: float) -> int:
        """Keep a verified statement, delete its cases, and return how many there were. Idempotent.

        Raises:
            RefusedError: EpochUnknown, or QuotaExceeded for more withdrawals than an owner can have cases.
        """
        epoch, owner, handles = tombstone.epoch, tombstone.owner, tombstone.handles
        with self._db.write() as db:
            ledger.budget(db, epoch)  # the epoch is there
            fresh = db.executemany(
                "INSERT OR IGNORE INTO tombstones VALUES (?, ?, ?)",
                [(epoch, owner, handle) for handle in handles],
            ).rowcount
            if not fresh:  # said before: nothing to keep, and nothing that can be there
                return 0
            (count,) = db.execute(
                "SELECT count(*) FROM tombstones WHERE epoch = ? AND owner = ?", (epoch, owner)
            ).fetchone()
            if count > MAX_WITHDRAWN:
                raise refused(
                    Code.QUOTA_EXCEEDED,
                    f"silo {owner!r} withdrew {MAX_WITHDRAWN} cases of epoch {epoch[:16]}",
                )
            db.execute(
                "INSERT OR IGNORE INTO statements VALUES (?, ?, ?, ?, ?, ?)",
                (epoch, owner, signature, b"".join(handles), identity, now),
            )
            removed = rows.remove(db, epoch, owner, handles)
            looks.take_out(db, epoch, owner, handles)
            _due(db, epoch, Cause.WITHDRAWAL, owner, now)
        self._db.forget()
        return removed

    def mark_due(self, epoch: str, cause: Cause, silo: str, *, now: float) -> None:
        """Say that an epoch is due for rotation; the first time of a cause and silo stays."""
        with self._db.write() as db:
            _due(db, epoch, cause, silo, now)

    def gallery(self, epoch: str, width: int, owner: str | None = None) -> Iterator[tuple[str, Cases]]:
        """The diagnosed cases of one owner or of all, in pieces. Other calls wait until the iteration has ended."""
        with self._db.read() as db:
            owners = sorted(rows.counts(db, epoch)) if owner is None else [owner]
            for name in owners:
                for cases in rows.gallery(db, epoch, name, width):
                    yield name, cases

    def undiagnosed(self, epoch: str, width: int) -> dict[str, Cases]:
        """Each owner's undiagnosed cases."""
        with self._db.read() as db:
            return rows.undiagnosed(db, epoch, width)

    def discovery_secret(self, epoch: str) -> bytes:
        """32 secret bytes of the hub, the same throughout an epoch: what clusters are named with.

        Raises:
            RefusedError: EpochUnknown.
        """
        with self._db.write() as db:
            ledger.budget(db, epoch)  # the epoch is there
            db.execute("INSERT OR IGNORE INTO discovery VALUES (?, ?)", (epoch, secrets.token_bytes(32)))
            (secret,) = db.execute("SELECT secret FROM discovery WHERE epoch = ?", (epoch,)).fetchone()
        return bytes(secret)

    def begin_look(self, epoch: str) -> int:
        """Note that clusters are looked for, before rows are read; what `put_clusters` must be given.

        Raises:
            RefusedError: EpochUnknown, EpochEnded.
        """
        with self._db.write() as db:
            ledger.budget(db, epoch)  # the epoch is there
            return looks.begin(db, epoch)

    def put_clusters(self, epoch: str, clusters: Sequence[Cluster], look: int) -> bool:
        """Replace an epoch's clusters and what their owners are told. Letters of a cluster that is there still stay.

        False, and nothing is kept, if cases were taken out since `begin_look` gave ``look``: the clusters may stand on them.

        Raises:
            RefusedError: EpochUnknown, EpochEnded.
        """
        with self._db.write() as db:
            ledger.budget(db, epoch)  # the epoch is there still
            if not looks.end(db, epoch, look):
                return False
            for name in ("findings", "clusters"):
                db.execute(f"DELETE FROM {name} WHERE epoch = ?", (epoch,))
            for place, cluster in enumerate(clusters):
                for owner in cluster.owners:
                    finding = cluster.for_owner(owner)
                    told = json.dumps(finding.to_json())
                    db.execute("INSERT INTO findings VALUES (?, ?, ?, ?)", (epoch, owner, place, told))
                    named = (epoch, owner, finding.handle, letters.name_of(cluster))
                    db.execute("INSERT INTO clusters VALUES (?, ?, ?, ?)", named)
            letters.forget_others(db, epoch)
        return True

    def write_letters(
        self, epoch: str, owner: str, handle: bytes, key: bytes, sent: Mapping[bytes, bytes]
    ) -> None:
        """Replace an owner's key and letters in a finding; see :func:`letters.put`."""
        with self._db.write() as db:
            letters.put(db, epoch, owner, handle, key, sent)

    def read_letters(self, epoch: str, owner: str, handle: bytes) -> letters.Post:
        """What an owner gets in a finding; see :func:`letters.get`."""
        secret = self.discovery_secret(epoch)
        with self._db.read() as db:
            return letters.get(db, epoch, owner, handle, secret)

    def clusters(self, epoch: str) -> list[list[tuple[str, bytes]]]:
        """The clusters of an epoch as (owner, photo handle), strongest first: for whoever may see all owners at once."""
        with self._db.read() as db:
            told = db.execute(
                "SELECT cluster, owner, told FROM clusters JOIN findings USING (epoch, owner) "
                "WHERE epoch = ? AND json_extract(told, '$.handle') = lower(hex(handle)) ORDER BY place, owner",
                (epoch,),
            ).fetchall()
        found: dict[bytes, list[tuple[str, bytes]]] = {}
        for cluster, owner, text in told:
            mine = map(bytes.fromhex, json.loads(text)["mine"])
            found.setdefault(cluster, []).extend((owner, handle) for handle in mine)
        return list(found.values())

    def findings(self, epoch: str, owner: str) -> list[dict[str, Any]]:
        """What one owner is told, strongest first, as JSON values."""
        with self._db.read() as db:
            told = db.execute(
                "SELECT told FROM findings WHERE epoch = ? AND owner = ? ORDER BY place", (epoch, owner)
            ).fetchall()
        return [json.loads(text) for (text,) in told]

    def statements(self, epoch: str) -> list[tuple[Tombstone, bytes, bytes]]:
        """All withdrawals of an epoch with signature and identity, in the order of their arrival."""
        with self._db.read() as db:
            found = db.execute(
                "SELECT owner, handles, signature, identity FROM statements WHERE epoch = ? ORDER BY received",
                (epoch,),
            ).fetchall()
        return [
            (Tombstone(epoch, owner, _split(handles)), signature, identity)
            for owner, handles, signature, identity in found
        ]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _record(db: sqlite3.Connection, epoch: str) -> EpochRecord:
    row = db.execute(
        "SELECT release, row_budget, query_budget, width, fingerprint FROM epochs WHERE epoch = ?", (epoch,)
    ).fetchone()
    if row is None:
        raise ledger.absent(db, epoch)
    members = db.execute("SELECT silo, identity FROM members WHERE epoch = ? ORDER BY silo", (epoch,))
    due = db.execute(
        "SELECT cause, silo, since FROM rotation WHERE epoch = ? ORDER BY since, cause, silo", (epoch,)
    )
    return EpochRecord(
        epoch=epoch,
        release=row[0],
        members=dict(members.fetchall()),
        budget=Budget(row[1], row[2]),
        setup=None if row[3] is None else Setup(row[3], row[4]),
        rotation_due=tuple(RotationDue(Cause(cause), silo, since) for cause, silo, since in due),
        look_due=looks.due(db, epoch),
    )


def _due(db: sqlite3.Connection, epoch: str, cause: Cause, silo: str, now: float) -> None:
    db.execute("INSERT OR IGNORE INTO rotation VALUES (?, ?, ?, ?)", (epoch, str(cause), silo, now))


def _split(handles: bytes) -> tuple[bytes, ...]:
    return tuple(handles[k : k + 16] for k in range(0, len(handles), 16))
