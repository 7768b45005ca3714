"""What a silo makes of a round beside the models: its rows, its score, its signature, and the release that it keeps."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgestalt.crypto.encoding import encode as canonical
from fedgestalt.crypto.errors import SealError
from fedgestalt.crypto.keys import Purpose
from fedgestalt.evaluation import EvaluationError, summarise
from fedgestalt.files import private_directory, write_atomic
from fedgestalt.flake import FlakeError, SiloRows
from fedgestalt.lineage import ReleaseStore, collect
from fedgestalt.secagg.errors import SessionError
from fedgestalt.secagg.messages import RELEASE_PREFIX, FaultReason, Kind, Message
from fedgestalt.silo.base import Base
from fedgestalt.silo.bundle import bundle_digest, seal_bundle
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.manifest import disagreements
from fedgestalt.silo.matching import GALLERY, HANDLES, EpochKeys, Matching, handle_key, layout_of
from fedgestalt.silo.models import ModelStore
from fedgestalt.silo.outbox import Board
from fedgestalt.silo.part import EVALUATION, RoundPart
from fedgestalt.silo.spool import Spool
from fedgestalt.silo.vault import EpochVault
from fedgestalt.silo.withdrawal import shrink, withdrawn_photos

log = logging.getLogger(__name__)
_OWN_SCORE = "own-score.json"


class Results:
    """From the encoder's embeddings to the release, for one silo in one round."""

    def __init__(
        self,
        site: SiteConfig,
        part: RoundPart,
        *,
        computation: Mapping[str, Any],
        frozen: bytes,
        vocabulary: Mapping[str, Sequence[str]],
        base: Base | None,
        board: Board,
        models: ModelStore,
        spool: Spool,
        vault: EpochVault,
        directory: Path,
    ) -> None:
        """``frozen`` are the exact bytes of ``computation``; ``directory`` is the round's private folder."""
        self._site, self._part, self._computation, self._frozen = site, part, computation, frozen
        self._vocabulary, self._base, self._board = vocabulary, base, board
        self._models, self._spool, self._vault = models, spool, vault
        self._directory = directory
        self._matching: Matching | None = None

    # ------------------------------------------------------------------ epoch and bundle

    @property
    def adopting(self) -> bool:
        """Whether the round only lets newcomers in."""
        return bool(self._computation["spec"]["operation"] == "Adopt")

    @property
    def epoch(self) -> bytes:
        """The epoch that the round's rows belong to."""
        return self._base.epoch if self.adopting and self._base is not None else self._part.session.h

    @property
    def bundle(self) -> Path:
        """The extractor: the base's unless the round trains, then what the encoder writes."""
        if self._base is not None and self._computation["spec"]["operation"] != "Train":
            return self._base.bundle
        return self._directory / "encode" / "bundle"

    # ------------------------------------------------------------------ rows and score

    def rows(self, embeddings: NDArray[np.float64], rows: Sequence[Mapping[str, Any]]) -> None:
        """The encoder's embeddings: masked, spooled, announced, sent, with the bundle that they were made by."""
        part = self._part
        if part.posted(Kind.ROWS):
            # What was announced is what counts, whatever was withdrawn since: its handles and cases are on the disk.
            part.resend(Kind.ROWS)
            return
        key = self._vault.subkey(self.epoch, Purpose.BUNDLE)
        sealed = seal_bundle(self.bundle, key, self.epoch)
        with part.lock:
            if part.posted(Kind.ROWS):
                return  # the encoder said it twice, and the first time was just being worked on
            width = self._computation["spec"].get("kernel", {}).get("width")
            gone = withdrawn_photos(self._site)
            here = [i for i, row in enumerate(rows) if row["photo"] not in gone]
            kept = [rows[i] for i in here]
            masked, counts = self._matcher().mask(embeddings[here], kept, width or None)
            data = masked.encode()
            body = {
                **counts,
                "digest": hashlib.sha256(data).digest(),
                "bundle": bundle_digest(self.bundle),
                "sealed": hashlib.sha256(sealed).digest(),
                "epoch_check": self._vault.subkey(self.epoch, Purpose.EPOCH_CHECK),
                "data": self._data_commitment(),
            }
            part.post(Kind.ROWS, body, data, sealed)

    def score(self, message: Message, own_rows: Message | None) -> None:
        """The kernel's answer: scored, and added to the secure sum; a newcomer keeps its score to itself.

        An answer that cannot be read or scored is the hub's fault, which this silo states instead of dying of it.
        """
        try:
            self._score(message, own_rows)
        except (SealError, FlakeError, EvaluationError, KeyError, ValueError) as error:
            self._part.fault(
                FaultReason.CHECK_FAILED, f"the rankings cannot be scored: {type(error).__name__}"
            )

    def _score(self, message: Message, own_rows: Message | None) -> None:
        part, mine = self._part, message.body["owners"].get(self._site.name)
        if not self.adopting:
            base = hashlib.sha256(b"fedgestalt/rankings/v1" + canonical(dict(message.body))).digest()
            part.begin(EVALUATION, 1, base)
        if mine is None or own_rows is None:
            return
        answer = part.session.unseal(
            self._board.download(part.session.computation.round, mine.hex()), message.slot
        )
        uploaded = SiloRows.decode(self._spool.path(own_rows.blobs[0]).read_bytes())
        contributed = self._matcher().score(answer, uploaded)
        if self.adopting:
            table = summarise(contributed, self._matcher().layout).to_json()
            write_atomic(self._directory / _OWN_SCORE, json.dumps(table, indent=2).encode())
        else:
            part.submit(EVALUATION, 1, contributed)

    def evaluated(self, total: NDArray[np.uint32]) -> bytes:
        """The unblinded sum of all silos' contributions; returns the hash of the table that follows from it."""
        table = self._matcher().table(total)
        self._part.post(Kind.SCORE, {"table": table})
        return hashlib.sha256(table).digest()

    # ------------------------------------------------------------------ the release

    def sign(self, message: Message, messages: Sequence[Message]) -> None:
        """Sign the manifest if it says what this silo knows."""
        part, digest = self._part, message.body["digest"]
        try:
            manifest = json.loads(self._board.download(part.session.computation.round, digest.hex()))
            wrong = self._disagreements(manifest, messages)
        except (SessionError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
            wrong = [f"its form ({type(error).__name__})"]
        if wrong:
            part.fault(FaultReason.MODEL_MISMATCH, f"the manifest differs in {', '.join(wrong)}")
            return
        part.post(Kind.SIGN, {"digest": digest, "signature": part.session.sign(RELEASE_PREFIX + digest)})

    def _disagreements(self, manifest: Mapping[str, Any], messages: Sequence[Message]) -> list[str]:
        part = self._part
        trained = (
            {}
            if self.adopting or self._computation["spec"]["operation"] != "Train"
            else {
                member.name: model.hash
                for member in part.training.trainable
                if (model := self._models.get(member.name)) is not None
            }
        )
        return disagreements(
            manifest,
            computation=self._computation,
            session=part.session,
            epoch=self.epoch,
            epoch_check=self._vault.subkey(self.epoch, Purpose.EPOCH_CHECK),
            trained=trained,
            base=self._base,
            messages=messages,
        )

    def keep(self, messages: Sequence[Message]) -> None:
        """The round is released: keep what this hospital needs of it, beyond the round.

        A silo that dropped out before it had the extractor or the epoch's key has nothing to keep; it may adopt later.
        """
        if not self.bundle.exists() or self._vault.get(self.epoch) is None:
            log.warning("this silo dropped out before it had the release; it can adopt it in another round")
            return
        released = next(m for m in messages if m.slot.kind is Kind.RELEASED)
        digest: str = released.body["digest"].hex()
        manifest = self._board.download(self._part.session.computation.round, digest)
        named = json.loads(manifest)["bundle"]["plain"]
        if f"sha256:{bundle_digest(self.bundle).hex()}" != named:
            log.error("the release has another extractor than this silo; it can adopt it in another round")
            return
        release = {
            "digest": digest,
            "epoch": self.epoch.hex(),
            "name": self._computation["name"],
            "silo": self._site.name,
            "exchange": {"url": self._site.exchange_url, "ca": str(self._site.ca_file)},
            "hubKey": self._site.hub_key.hex(),
        }
        subkeys = {name: self._vault.subkey(self.epoch, p).hex() for name, p in _POD_KEYS.items()}
        width = self._computation["spec"].get("kernel", {}).get("width") or None
        files: dict[str, bytes | Path] = {
            "bundle": self.bundle,
            "keys.json": json.dumps({**subkeys, "width": width}).encode(),
            "vocabulary.json": json.dumps(dict(self._vocabulary)).encode(),
            "release.json": json.dumps(release, indent=2).encode(),
        }
        own = self._directory / "matching"
        older = self._base.folder if self._base is not None and self.adopting else own
        for name in (GALLERY, HANDLES):
            source = own / name if (own / name).exists() else older / name
            if source.exists():
                files[name] = source
        if (self._directory / _OWN_SCORE).exists():
            files[_OWN_SCORE] = self._directory / _OWN_SCORE
        if self._base is not None and not self._base.member:
            files["parent.json"] = self._base.folder / "manifest.json"
        stored = ReleaseStore(self._site.releases).put(manifest, self._frozen, collect(messages), files=files)
        shrink(self._site, stored.folder)
        log.info("release %s is kept in %s", digest[:12], self._site.releases.name)

    # ------------------------------------------------------------------

    def _matcher(self) -> Matching:
        if self._matching is None:
            spec, secret = self._computation["spec"], self._site.seed_file.read_bytes()
            keys = EpochKeys(
                self._vault.subkey(self.epoch, Purpose.FRAME),
                self._vault.subkey(self.epoch, Purpose.TOKEN),
                handle_key(secret, self.epoch),
            )
            layout = layout_of(self._vocabulary, spec["evaluation"]["bootstrapReplicates"])
            directory = private_directory(self._directory / "matching")
            self._matching = Matching(directory, keys, layout, spec["evaluation"]["seed"])
        return self._matching

    def _data_commitment(self) -> bytes:
        """Binds the silo to its cohort's manifest without showing it: the site's secret keeps guesses from being tried."""
        cohort = self._site.datasets[self._computation["spec"]["dataset"]]
        listed = hashlib.sha256((cohort / "manifest.csv").read_bytes()).digest()
        return hashlib.sha256(b"fedgestalt/cohort/v1" + self._site.seed_file.read_bytes() + listed).digest()


_POD_KEYS = {"frame": Purpose.FRAME, "token": Purpose.TOKEN}
"""The subkeys that the site's inference pods use; K_epoch stays with the agent."""
