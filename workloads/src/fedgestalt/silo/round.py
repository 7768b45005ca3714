"""What an agent does for one round: the grant, the enrolment, the trainer, the encoder, and the board's messages."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fedgestalt.crypto.errors import SealError, SignatureError
from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.errors import ExchangeError
from fedgestalt.files import private_directory, write_atomic
from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.messages import FaultReason, Kind, Message, verify
from fedgestalt.silo.admission import Admission
from fedgestalt.silo.base import Base, BaseError, load_base
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.counts import training_photos
from fedgestalt.silo.leaving import remember, remembered, sending
from fedgestalt.silo.models import ModelStore
from fedgestalt.silo.outbox import Board, Outbox
from fedgestalt.silo.part import RoundPart, silo_weight
from fedgestalt.silo.permission import LOOK_SECONDS, Permission
from fedgestalt.silo.refusal import TaskRefusal
from fedgestalt.silo.results import Results
from fedgestalt.silo.spool import Spool
from fedgestalt.silo.store import DiskStore
from fedgestalt.silo.vault import EpochVault
from fedgestalt.silo.withdrawal import withdrawn_photos
from fedgestalt.silo.workloads import Workloads
from fedgestalt.training.parsing import parse_training

log = logging.getLogger(__name__)

DELEGATION_SECONDS = 7 * 86400
RETRY_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
TASK_KINDS = ("Enrol", "Train", "Encode")


class RoundWork:
    """One round at one site. Methods are called from the agent's main thread, those of the trainer's link excepted."""

    def __init__(
        self,
        site: SiteConfig,
        identity: Identity,
        round_uid: str,
        board: Board,
        vault: EpochVault,
        permission: Permission,
    ) -> None:
        self.uid = round_uid
        self._permission = permission
        self._site, self._identity, self._board, self._vault = site, identity, board, vault
        self._directory = private_directory(site.work / round_uid[:8])
        self._store = DiskStore(site.state / f"{round_uid}.sqlite")
        self._spool = Spool(self._directory / "spool")
        self._outbox = Outbox(board, self._store, self._spool)
        self._models = ModelStore(self._directory / "models")
        self._log: list[Message] = []
        """Everything on the board, believed or not: what a new attempt is replayed from."""
        self._believed: list[Message] = []
        """The computation and the messages of this attempt whose signatures hold."""
        self._part: RoundPart | None = None
        self._computation: Mapping[str, Any] | None = None
        self._vocabulary: Mapping[str, Sequence[str]] = {}
        self._workloads: Workloads | None = None
        self._attempt = 0
        self._base: Base | None = None
        self._results: Results | None = None
        self._admission: Admission | None = None
        self._rewound = False
        # Its secrets are deleted, so a finished round is never taken up again, whatever is asked.
        self.finished = self.dormant = (self._directory / "finished").exists()
        self._base_wanted, self._not_before = False, 0.0
        self._leaving: TaskRefusal | None = None
        self._caught_up = False
        self._next_look = self._heard = self._began = time.monotonic()
        self._left = remembered(self._store)
        if self._left is not None:
            self.finished, self.dormant = True, False  # its tasks go on to say why
        if self.finished:  # a kill may have come in between
            self._store.delete(f"secagg/{round_uid}/")
            permission.over(round_uid)

    # ------------------------------------------------------------------ tasks

    def on_task(self, kind: str, digest: str, attempt: int) -> None:
        """A SiloTask for this round. Repetitions are harmless."""
        if kind == "Enrol" and attempt > self._attempt:
            self._attempt = attempt
            self._enrol(digest)
        elif kind in ("Train", "Encode") and attempt == self._attempt:
            self._start(kind)

    def _enrol(self, digest: str) -> None:
        first = next((m for m in self._log if m.slot.kind == Kind.COMPUTATION), None)
        if first is None:
            self._attempt -= 1  # the task came before the board's first message; it is offered again
            return
        if first.body["digest"].hex() != digest:
            raise RuntimeError("the task and the board name different computations")
        try:
            verify(first, self._site.hub_key)
            if self._part is None:
                self._part = self._make_part(first)
        except SignatureError as error:
            self._attempt -= 1
            raise TaskRefusal("HubNotBelieved", str(error)) from error
        except TaskRefusal:
            self._attempt -= 1  # may be asked again: a lost release may come back
            raise
        self._believed = [first]
        self._part.enrol(self._attempt)
        for message in list(self._log):
            if message.slot.enrolment == self._attempt:
                self._deliver(message)

    def _make_part(self, first: Message) -> RoundPart:
        data = self._board.download(self.uid, first.blobs[0])
        computation = Computation.parse(data)
        self._computation = json.loads(data)
        spec = self._computation["spec"]
        # What was granted once stays so for the round: the steward revokes, a restart does not.
        if not self._permission.admitted(self.uid, computation.digest):
            self._check_grant(computation.digest)
        self._base = self._load_base(first)
        vocabulary = self._board.download(self.uid, spec["vocabulary"]["digest"].removeprefix("sha256:"))
        self._vocabulary = json.loads(vocabulary)
        cohort = self._site.datasets[spec["dataset"]]
        photos = training_photos(cohort, self._vocabulary["trained"], withdrawn_photos(self._site))
        part = RoundPart(
            name=self._site.name,
            identity=self._identity,
            computation=computation,
            training=parse_training(spec["training"]),
            weight=first_seen(self._store, "weight", silo_weight(photos)),
            store=self._store,
            models=self._models,
            outbox=self._outbox,
            board=self._board,
            hub_key=self._site.hub_key,
            not_after=first_seen(self._store, "started", int(time.time())) + DELEGATION_SECONDS,
        )
        self._results = Results(
            self._site,
            part,
            computation=self._computation,
            frozen=data,
            vocabulary=self._vocabulary,
            base=self._base,
            board=self._board,
            models=self._models,
            spool=self._spool,
            vault=self._vault,
            directory=self._directory,
        )
        self._workloads = Workloads(
            self._site,
            part,
            self._results,
            spec=spec,
            vocabulary=self._vocabulary,
            start=None if self._base is None else self._base.bundle,
            directory=self._directory,
        )
        if self._results.adopting and self._base is not None:
            self._admission = Admission(part, self._base, self._vault, self._open_base)
        part.on_evaluation = self._results.evaluated
        part.on_enrolled = self._enrolled
        return part

    def _load_base(self, first: Message) -> Base | None:
        assert self._computation is not None
        try:
            return load_base(
                self._computation,
                first.blobs,
                silo=self._site.name,
                store=self._site.releases,
                work=self._directory,
                board=self._board,
                hub_key=self._site.hub_key,
            )
        except BaseError as error:
            raise TaskRefusal(error.reason, str(error)) from error

    def _enrolled(self) -> None:
        """An enrolment stands: what it drew for the epoch outlives the round."""
        assert self._part is not None
        key = self._part.session.fresh_epoch
        if key is not None:
            self._vault.put(self._part.session.h, key)
        part = self._part
        refusal: TaskRefusal | None = None
        if self._admission is not None and not part.posted(Kind.ADMIT):
            try:
                # Once more: whom it admits, a silo cannot put out again.
                self._check_grant(part.session.computation.digest)
            except TaskRefusal as error:
                refusal = error
        if refusal is None:
            spent = self._permission.count(self.uid, part.session.h)
            refusal = None if spent is None else TaskRefusal.by_grants([spent])
        if refusal is not None:
            self._leaving = refusal  # the next look says so to the others
            part.leave(str(refusal))
        elif self._admission is not None:
            self._admission.enrolled()

    def _open_base(self) -> None:
        """A newcomer got the epoch's key: the bundle is fetched from the main loop, as often as it takes."""
        self._base_wanted = True

    def _fetch_base(self) -> None:
        if not self._base_wanted or time.monotonic() < self._not_before:
            return
        assert self._base is not None
        assert self._part is not None
        self._not_before = time.monotonic() + RETRY_SECONDS
        try:
            self._base.open(self._board, self.uid, self._vault)
        except ExchangeError as error:
            log.warning("the release's extractor: %s", error)
            return
        except (BaseError, SealError) as error:
            self._part.fault(FaultReason.MODEL_MISMATCH, str(error))
        self._base_wanted = False

    def _check_grant(self, digest: bytes) -> None:
        assert self._computation is not None
        problems = self._permission.admit(self.uid, digest, self._computation)
        if problems:
            raise TaskRefusal.by_grants(problems)

    # ------------------------------------------------------------------ leaving

    def _look(self) -> None:
        """Whether the round may go on here; if not, leave it as soon as nobody counts on this silo's masks."""
        now = time.monotonic()
        if self.finished or self._part is None or now < self._next_look:
            return
        # While the board is read for the first time, for instance after a restart, nobody can tell what is open.
        self._caught_up = (
            self._caught_up or now - self._heard >= LOOK_SECONDS or now - self._began >= PATIENCE_SECONDS
        )
        if not self._caught_up:
            return
        self._next_look = now + LOOK_SECONDS
        if self._leaving is None:
            ended = self._permission.ended(self.uid)
            if ended is None:
                return
            log.warning("round %s: leaving it: %s", self.uid[:8], ended)
            self._leaving = TaskRefusal.by_grants([ended])
            self._part.leave(str(ended))
        if not sending(self._believed, self._site.name):
            self._leave(self._leaving)

    def _leave(self, refusal: TaskRefusal) -> None:
        """Say so on the board, end the workloads, and forget the round's secrets: it is not taken up again."""
        assert self._part is not None
        why, failed = str(refusal), refusal.status()
        said = {kind: self.task_status(kind) for kind in TASK_KINDS}
        statuses = {k: status if status["phase"] == "Succeeded" else failed for k, status in said.items()}
        self._part.fault(FaultReason(refusal.reason), why)
        self._part.end(why)
        if self._workloads is not None:
            self._workloads.stop()
            self._workloads = None
        remember(self._store, why, statuses)
        self._left = why, statuses
        self._finish()

    # ------------------------------------------------------------------ the board

    def on_message(self, seq: int, message: Message, *, complete: bool) -> None:
        """A message of the board, in order; one that became complete comes again and is not news."""
        if seq <= len(self._log):
            return
        self._log.append(message)
        self._heard = time.monotonic()
        if self._left is not None:
            return
        if self._part is not None and message.slot.enrolment == self._attempt:
            self._deliver(message)
        own = message.slot.sender == self._site.name
        if own and not complete:
            for digest in message.blobs:  # announced before a crash: the spooled bytes, not new ones
                if self._spool.path(digest).exists():
                    self._outbox.send_blob(self.uid, digest)

    def _deliver(self, message: Message) -> None:
        assert self._part is not None
        part = self._part
        part.on_message(message)
        try:
            part.session.verify(message)
        except SignatureError as error:
            log.warning("not believed: %s", error)
            return
        self._believed.append(message)
        kind, results = message.slot.kind, self._results
        assert results is not None
        if kind in (Kind.RELEASED, Kind.FAILED):
            if kind == Kind.RELEASED and part.session.enrolled:
                results.keep(self._believed)
            if self._workloads is not None and not self.finished:
                self._workloads.poll()
                self._workloads.finish(released=kind == Kind.RELEASED)
            self._finish()
        elif not part.session.enrolled:
            return  # not of this roster: nothing of what follows is this silo's business
        elif kind in (Kind.ADMIT, Kind.WELCOME) and self._admission is not None:
            with part.lock:
                self._admission.on_message(message)
        elif kind == Kind.RANKINGS:
            results.score(message, self._own_rows())
        elif kind == Kind.MANIFEST:
            results.sign(message, self._believed)

    def _own_rows(self) -> Message | None:
        own = (m for m in self._believed if m.slot.kind == Kind.ROWS and m.slot.sender == self._site.name)
        return next(own, None)

    def rewound(self, detail: str) -> None:
        """The board was set back: this silo takes no further part in the enrolment.

        An agent that was started anew has nothing yet to sign a fault with; its tasks' status says it in any case.
        """
        self._rewound = True
        if self._part is not None:
            self._part.fault(FaultReason.BOARD_REWOUND, detail)

    # ------------------------------------------------------------------ trainer and encoder

    def _start(self, task: str) -> None:
        if self._workloads is None or self._results is None:
            return
        if (
            self._results.bundle.exists() or self._admission is None
        ):  # else the key is on its way: asked again
            self._workloads.start(task)

    def poll(self) -> None:
        """Watch the processes and the grant, and fetch what is missing."""
        self._look()
        self._fetch_base()
        if self._workloads is not None and not self.finished:
            self._workloads.poll()

    def task_status(self, kind: str) -> dict[str, Any]:
        """What the hub may know of a task of this round."""
        if self._left is not None:
            return dict(self._left[1].get(kind) or self._left[1][TASK_KINDS[-1]])
        if self._rewound:
            said = "the board was set back behind what this silo saw of it"
            return {
                "phase": "Failed",
                "reason": FaultReason.BOARD_REWOUND,
                "fraction": 0.0,
                "message": said,
            }
        if kind == "Enrol":
            enrolled = self._part is not None and self._part.session.enrolled
            return {
                "phase": "Succeeded" if enrolled else "Running",
                "fraction": float(enrolled),
                "message": "",
            }
        if self._workloads is None:
            return {"phase": "Pending", "fraction": 0.0, "message": ""}
        return self._workloads.status(kind)

    def _finish(self) -> None:
        """The round is over: its secrets go, the epoch's stay."""
        if self.finished:
            return
        self.finished = True
        assert self._part is not None
        # In this order: a round that lost its secrets and does not know that it is over could not be taken up again.
        write_atomic(self._directory / "finished", b"")
        self._part.session.close()
        self._store.delete(f"secagg/{self.uid}/")  # of attempts that came to nothing as well
        self._permission.over(self.uid)

    def stop(self) -> None:
        """End the processes and the link; everything goes on after a restart."""
        if self._workloads is not None:
            self._workloads.stop()
        self._store.close()


def first_seen(store: DiskStore, key: str, value: int) -> int:
    """A number that is written down once, so that a restarted agent derives the same statements from it."""
    known = store.get(key)
    if known is None:
        store.put(key, str(value).encode())
        return value
    return int(known)
