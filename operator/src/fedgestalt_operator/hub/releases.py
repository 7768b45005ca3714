"""The hub's releases: what a round builds on, and what is kept when it ends."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import Code, EpochEndedError, EpochUnknownError, RefusedError
from fedgestalt.files import write_atomic
from fedgestalt.lineage import ReleaseStore, ancestors, collect, successor_of
from fedgestalt.lineage.store import COMPUTATION, MANIFEST, PROOF, SEALED
from fedgestalt.secagg.messages import Kind, Message

from ..plan.release_status import Due, EpochState
from ..plan.types import BaseRelease

log = logging.getLogger(__name__)

VOCABULARY: Final = "vocabulary.json"
PUBLISHED: Final = "published"
"""Written last: publishing that was cut short begins anew, and every step of it may be repeated."""


class HubReleases:
    """The hub's release store, between the board and the planner."""

    def __init__(
        self, folder: Path, client: BoardClient, epochs: EpochClient, looks: EpochClient | None = None
    ) -> None:
        self._store, self._client, self._epochs = ReleaseStore(folder), client, epochs
        self._looks = looks or epochs

    def base(self, spec: Mapping[str, Any]) -> BaseRelease | None:
        """The release that a round's spec names; None if it names none or the hub does not have it."""
        named = spec.get("base")
        if named is None:
            return None
        digest = named["digest"].removeprefix("sha256:")
        if not self.published(digest):
            return None
        stored = self._store.get(digest)
        manifest, computation = (json.loads(stored.read(part)) for part in (MANIFEST, COMPUTATION))
        return BaseRelease(digest, manifest, computation, successor_of(self._store, stored) or "")

    def parts(self, base: BaseRelease) -> list[Path]:
        """What newcomers need of a base and of all that it continues, as files, the base's proof last."""
        stored = self._store.get(base.digest)
        paths = [stored.folder / part for part in (MANIFEST, COMPUTATION, SEALED)]
        for older in ancestors(self._store, stored):
            paths += [older.folder / part for part in (MANIFEST, COMPUTATION, PROOF)]
        return [*paths, stored.folder / PROOF]

    def vocabulary(self, digest: str) -> bytes | None:
        """The vocabulary beside a release; None if there is none."""
        path = self._store.get(digest).folder / VOCABULARY
        return path.read_bytes() if path.exists() else None

    def published(self, digest: str) -> bool:
        """Whether a release is kept and its gallery is with the query service."""
        return (self._store.folder / digest / PUBLISHED).exists()

    def publish(
        self, round_uid: str, digest: str, messages: Sequence[Message], vocabulary: bytes
    ) -> Mapping[str, Any]:
        """Keep a release beyond its round, and answer queries from its gallery; its manifest. Repeatable."""
        if self.published(digest):  # the round's blobs may be gone
            kept: dict[str, Any] = json.loads(self._store.get(digest).read(MANIFEST))
            return kept
        manifest = self._client.download(round_uid, digest)
        first = next(m for m in messages if m.slot.kind is Kind.COMPUTATION)
        sealed = json.loads(manifest)["bundle"]["digest"]
        files = {SEALED: self._client.download(round_uid, sealed), VOCABULARY: vocabulary}
        computation = self._client.download(round_uid, first.blobs[0])
        self._store.put(manifest, computation, collect(messages), files=files)
        content: dict[str, Any] = json.loads(manifest)
        self._serve(round_uid, digest, content, messages)
        return content

    def end_older(self, digest: str) -> None:
        """A rotation ends the epoch that it took the place of, once sites can get what succeeds it. Repeatable.

        The old frame is worth nothing then: who has departed, or kept withdrawn rows, has nothing to compare them with.
        """
        manifest = self._store.get(digest).manifest
        if manifest.operation == "Rotate":
            older = self._store.get(manifest.parents[0]).manifest.epoch
            self._epochs.end(older, digest)
            log.info("epoch %s has ended: release %s succeeds it", older[:12], digest[:12])

    def _serve(
        self, round_uid: str, digest: str, manifest: Mapping[str, Any], messages: Sequence[Message]
    ) -> None:
        """Give the gallery to the query service; the round's own rows, tests among them, go."""
        epoch = manifest["epoch"]
        stands = self._open(epoch, digest, manifest)
        # Not all whose rows were closed: those that the kernel refused would, taken first, fix width and frame for all.
        ranked = next(m for m in reversed(messages) if m.slot.kind is Kind.RANKINGS)
        for message in messages:
            if message.slot.kind is not Kind.ROWS or message.slot.enrolment != ranked.slot.enrolment:
                continue
            owner, rows = message.slot.sender, message.blobs[0]
            if stands and owner in ranked.body["owners"]:
                self._take(epoch, owner, round_uid, rows)
            self.delete_blob(round_uid, rows)
        if stands and any(rows["undiagnosed"] for rows in manifest["rows"].values()):
            self._epochs.discover(epoch)
        write_atomic(self._store.folder / digest / PUBLISHED, b"")

    def _open(self, epoch: str, digest: str, manifest: Mapping[str, Any]) -> bool:
        """Have a release's epoch answered for; False if a rotation ended it while newcomers were on their way in."""
        silos = set(manifest["rows"])
        try:
            if manifest["operation"] == "Adopt":
                # Nobody leaves an epoch because somebody joins, and who has departed does not come back with the newcomer.
                newcomers = silos - set(self._store.get(manifest["parents"][0]).manifest.rows)
                silos = set(self._epochs.status(epoch).silos) | newcomers
            self._epochs.open(epoch, digest, sorted(silos))
        except EpochEndedError as error:
            log.warning("release %s is kept, but not served: %s", digest[:12], error)
            return False
        return True

    def _take(self, epoch: str, owner: str, round_uid: str, rows: str) -> None:
        """Take one silo's rows. What is wrong with them is its own loss: the others' release must not wait for it."""
        try:
            self._epochs.take_rows(epoch, owner, round_uid=round_uid, digest=rows)
        except RefusedError as error:
            if error.code is Code.BLOB_GONE:
                return  # taken before a kill; they are deleted only after that
            if error.code not in (Code.ROWS_INVALID, Code.HANDLE_TAKEN, Code.BUDGET_SPENT):
                raise
            log.warning("the rows of %s are not served: %s; it must send its cases anew", owner, error)

    def epoch(self, epoch: str) -> EpochState | None:
        """An epoch as the query service knows it; None if it answers for it no longer."""
        try:
            found = self._looks.status(epoch)
        except EpochEndedError as error:
            return EpochState(0, 0, successor=error.successor or "")
        except EpochUnknownError:
            return None
        counts = found.silos.values()
        return EpochState(
            gallery=sum(c.gallery for c in counts),
            undiagnosed=sum(c.undiagnosed for c in counts),
            due=tuple(Due(d.cause.value, d.silo, d.since) for d in found.rotation_due),
            look_due=found.look_due,
        )

    def discover(self, epoch: str) -> None:
        """Look for clusters anew, with the time that a publication has: the rows of all silos are compared."""
        try:
            found = self._epochs.discover(epoch)
        except RefusedError as error:
            log.warning("no clusters are looked for in epoch %s: %s", epoch[:12], error)
        else:
            log.info("looked for clusters in epoch %s anew: %d", epoch[:12], found)

    def delete_blob(self, round_uid: str, digest: str) -> None:
        """Delete a blob; one that was announced and never came is as good as deleted."""
        try:
            self._client.delete_blob(round_uid, digest)
        except RefusedError as error:
            if error.code is not Code.BLOB_UNKNOWN:
                raise
