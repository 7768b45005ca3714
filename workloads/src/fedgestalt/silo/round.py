"""What an agent does for one round: the grant, the enrolment, the trainer, the rows, the score, the signature."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgestalt.crypto.encoding import encode as canonical
from fedgestalt.crypto.keys import Identity, Purpose
from fedgestalt.files import private_directory, write_atomic
from fedgestalt.flake import SiloRows
from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.messages import FaultReason, Kind, Message
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.counts import training_photos
from fedgestalt.silo.grant import GrantError, load_grant
from fedgestalt.silo.matching import EpochKeys, Matching, handle_key, layout_of
from fedgestalt.silo.models import ModelStore
from fedgestalt.silo.outbox import Board, Outbox
from fedgestalt.silo.part import EVALUATION, RoundPart, silo_weight
from fedgestalt.silo.spool import Spool
from fedgestalt.silo.store import DiskStore
from fedgestalt.silo.trainer import Workload
from fedgestalt.training.endpoint import TrainerEndpoint
from fedgestalt.training.exit_codes import ExitCode
from fedgestalt.training.messages import STOPPED, Aggregated, LinkRefusal, MemberState
from fedgestalt.training.parsing import parse_training

log = logging.getLogger(__name__)

DELEGATION_SECONDS = 7 * 86400

_FAULT_OF_EXIT = {
    ExitCode.WEIGHTS_MISSING: FaultReason.INITIAL_WEIGHTS_MISSING,
    ExitCode.BAD_DATA: FaultReason.DATA_INVALID,
    ExitCode.NON_FINITE: FaultReason.NON_FINITE,
    ExitCode.BOUND_EXCEEDED: FaultReason.BOUND_EXCEEDED,
}


class RoundWork:
    """One round at one site. Methods are called from the agent's main thread, those of the trainer's link excepted."""

    def __init__(self, site: SiteConfig, identity: Identity, round_uid: str, board: Board) -> None:
        self.uid = round_uid
        self._site, self._identity, self._board = site, identity, board
        self._directory = private_directory(site.work / round_uid[:8])
        self._store = DiskStore(site.state / f"{round_uid}.sqlite")
        self._spool = Spool(self._directory / "spool")
        self._outbox = Outbox(board, self._store, self._spool)
        self._models = ModelStore(self._directory / "models")
        self._log: list[Message] = []
        self._part: RoundPart | None = None
        self._computation: Mapping[str, Any] | None = None
        self._blobs: tuple[str, ...] = ()
        self._vocabulary: Mapping[str, Sequence[str]] = {}
        self._endpoint: TrainerEndpoint | None = None
        self._workloads: dict[str, Workload] = {}
        self._attempt = 0
        self._matching: Matching | None = None
        self.progress: tuple[float, str] = (0.0, "")
        self.finished = False

    # ------------------------------------------------------------------ tasks

    def on_task(self, kind: str, digest: str, attempt: int) -> None:
        """A SiloTask for this round. Repetitions are harmless."""
        if kind == "Enrol" and attempt > self._attempt:
            self._attempt = attempt
            self._enrol(digest)
        elif kind == "Train" and attempt == self._attempt:
            self._start("train")
        elif kind == "Encode" and attempt == self._attempt:
            self._start("encode")

    def _enrol(self, digest: str) -> None:
        first = next((m for m in self._log if m.slot.kind == Kind.COMPUTATION), None)
        if first is None:
            self._attempt -= 1  # the task came before the board's first message; it is offered again
            return
        if first.body["digest"].hex() != digest:
            raise RuntimeError("the task and the board name different computations")
        if self._part is None:
            self._part = self._make_part(first)
        self._part.enrol(self._attempt)
        for message in list(self._log):
            if message.slot.enrolment == self._attempt:
                self._deliver(message)

    def _make_part(self, first: Message) -> RoundPart:
        data = self._board.download(self.uid, first.blobs[0])
        computation = Computation.parse(data)
        self._computation = json.loads(data)
        spec = self._computation["spec"]
        self._check_grant(self._computation)
        vocabulary = self._board.download(self.uid, spec["vocabulary"]["digest"].removeprefix("sha256:"))
        self._vocabulary = json.loads(vocabulary)
        photos = training_photos(self._site.datasets[spec["dataset"]], self._vocabulary["trained"])
        part = RoundPart(
            name=self._site.name,
            identity=self._identity,
            computation=computation,
            training=parse_training(spec["training"]),
            weight=silo_weight(photos),
            store=self._store,
            models=self._models,
            outbox=self._outbox,
            board=self._board,
            hub_key=self._site.hub_key,
            not_after=int(first_seen(self._store, "started")) + DELEGATION_SECONDS,
        )
        part.on_evaluation = self._evaluated
        return part

    def _check_grant(self, computation: Mapping[str, Any]) -> None:
        try:
            grant = load_grant(self._site.grant_file)
            problems = grant.mismatches(
                computation, hub_key=self._site.hub_key, silo=self._site.name, now=time.time()
            )
        except GrantError as error:
            log.error("%s", error)
            problems = ["NoGrant: this site has no usable grant"]
        if problems:
            raise GrantRefusal("; ".join(problems))

    # ------------------------------------------------------------------ the board

    def on_message(self, seq: int, message: Message, *, complete: bool) -> None:
        """A message of the board, in order; one that became complete comes again and is not news."""
        if seq <= len(self._log):
            return
        self._log.append(message)
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
        kind = message.slot.kind
        if kind == Kind.RANKINGS:
            self._score(message)
        elif kind == Kind.MANIFEST:
            self._sign(message)
        elif kind in (Kind.RELEASED, Kind.FAILED):
            self._finish()

    def rewound(self, detail: str) -> None:
        """The board was set back: this silo takes no further part in the enrolment."""
        if self._part is not None:
            self._part.fault(FaultReason.BOARD_REWOUND, detail)

    # ------------------------------------------------------------------ trainer and encoder

    def _start(self, name: str) -> None:
        if name in self._workloads or self._part is None or self._computation is None:
            return
        spec = self._computation["spec"]
        socket = self._site.directory / "link.sock"
        if self._endpoint is None:
            self._endpoint = TrainerEndpoint(socket, Handler(self))
            self._endpoint.start()
        task = {
            "training": spec["training"],
            "cohort": str(self._site.datasets[spec["dataset"]]),
            "vocabulary": dict(self._vocabulary),
            "socket": str(socket),
            "seedFile": str(self._site.seed_file),
            "roster": hashlib.sha256(canonical(list(self._part.session.roster))).hexdigest(),
            "publicSeed": self._part.session.computation.digest.hex(),
            "cache": str(self._site.work / "faces"),
            "work": str(self._directory / name),
        }
        self._workloads[name] = Workload(
            name,
            task,
            command=self._site.workload,
            directory=private_directory(self._directory / name),
            logs=self._directory / "logs",
            threads=spec["training"]["resources"].get("threads", 1),
        )

    def poll(self) -> None:
        """Watch the processes."""
        for workload in self._workloads.values():
            workload.poll(self._workload_failed)

    def _workload_failed(self, code: int, tail: str) -> None:
        assert self._part is not None
        log.error("a workload failed with exit code %d:\n%s", code, tail)
        reason = (
            _FAULT_OF_EXIT.get(ExitCode(code), FaultReason.TRAINER_FAILED)
            if code > 2
            else FaultReason.TRAINER_FAILED
        )
        self._part.fault(reason, f"workload ended with exit code {code}")

    def task_status(self, kind: str) -> dict[str, Any]:
        """What the hub may know of a task of this round."""
        workload = self._workloads.get({"Train": "train", "Encode": "encode"}.get(kind, ""))
        fraction, message = self.progress
        if kind == "Enrol":
            enrolled = self._part is not None and self._part.session.enrolled
            return {
                "phase": "Succeeded" if enrolled else "Running",
                "fraction": float(enrolled),
                "message": "",
            }
        if workload is None:
            return {"phase": "Pending", "fraction": 0.0, "message": ""}
        if workload.failed is not None:
            return {"phase": "Failed", "fraction": fraction, "message": f"exit code {workload.failed}"}
        if workload.done:
            return {"phase": "Succeeded", "fraction": 1.0, "message": ""}
        return {"phase": "Running", "fraction": round(fraction, 2), "message": message}

    # ------------------------------------------------------------------ rows, score, signature

    def _matcher(self) -> Matching:
        assert self._part is not None
        assert self._computation is not None
        if self._matching is None:
            session, spec = self._part.session, self._computation["spec"]
            keys = EpochKeys(
                session.epoch_key(Purpose.FRAME),
                session.epoch_key(Purpose.TOKEN),
                handle_key(self._site.seed_file.read_bytes(), session.h),
            )
            layout = layout_of(self._vocabulary, spec["evaluation"]["bootstrapReplicates"])
            directory = private_directory(self._directory / "matching")
            self._matching = Matching(directory, keys, layout, spec["evaluation"]["seed"])
        return self._matching

    def rows(self, embeddings: NDArray[np.float64], rows: Sequence[Mapping[str, Any]]) -> None:
        """The encoder's embeddings: masked, spooled, announced, sent."""
        assert self._part is not None
        assert self._computation is not None
        with self._part.lock:
            width = self._computation["spec"].get("kernel", {}).get("width")
            masked, counts = self._matcher().mask(embeddings, rows, width or None)
            self._part.post(Kind.ROWS, counts, blob=masked.encode())

    def _score(self, message: Message) -> None:
        assert self._part is not None
        part, name = self._part, self._site.name
        mine = message.body["owners"].get(name)
        own_rows = next(
            (
                m
                for m in self._log
                if m.slot.kind == Kind.ROWS and m.slot.sender == name and m.slot.enrolment == self._attempt
            ),
            None,
        )
        base = hashlib.sha256(b"fedgestalt/rankings/v1" + canonical(dict(message.body))).digest()
        part.begin(EVALUATION, 1, base)
        if mine is None or own_rows is None:
            return
        sealed = self._board.download(self.uid, mine.hex())
        answer = part.session.unseal(sealed, message.slot)
        uploaded = SiloRows.decode(self._spool.path(own_rows.blobs[0]).read_bytes())
        part.submit(EVALUATION, 1, self._matcher().score(answer, uploaded))

    def _evaluated(self, total: NDArray[np.uint32]) -> bytes:
        assert self._part is not None
        table = self._matcher().table(total)
        self._part.post(Kind.SCORE, {"table": table})
        return hashlib.sha256(table).digest()

    def _sign(self, message: Message) -> None:
        """Sign the manifest if it says of the models what this silo knows of them."""
        assert self._part is not None
        part = self._part
        digest: bytes = message.body["digest"]
        manifest = json.loads(self._board.download(self.uid, digest.hex()))
        named = {member["name"]: member.get("model") for member in manifest["members"]}
        for member in part.training.trainable:
            model = self._models.get(member.name)
            if model is None or named.get(member.name) != model.hash:
                part.fault(FaultReason.MODEL_MISMATCH, f"the manifest names another model for {member.name}")
                return
        part.post(Kind.SIGN, {"digest": digest, "signature": part.session.sign(digest)})

    def _finish(self) -> None:
        """The round is over: its secrets go, the epoch's stay."""
        if self.finished:
            return
        self.finished = True
        assert self._part is not None
        self._part.session.close()
        write_atomic(self._directory / "finished", b"")

    def stop(self) -> None:
        """End the processes and the link; everything goes on after a restart."""
        for workload in self._workloads.values():
            workload.stop()
        if self._endpoint is not None:
            self._endpoint.close()
        self._store.close()


class GrantRefusal(Exception):  # noqa: N818 - the site's answer, not an error of this program
    """The round does not fit the grant; the message may be read by the coordinator."""


class Handler:
    """The trainer's link into a round (implements TrainerHandler); called from the link's threads."""

    def __init__(self, work: RoundWork) -> None:
        self._work = work

    @property
    def _part(self) -> RoundPart:
        if self._work._part is None:
            raise LinkRefusal(STOPPED, "the silo is not enrolled")
        return self._work._part

    def resume(self) -> Mapping[str, MemberState]:
        return {name: MemberState(model.t, model.tensors) for name, model in self._part.resume().items()}

    def initial(self, member: str, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        self._part.initial(member, tensors)

    def aggregate(self, member: str, t: int, delta: Mapping[str, NDArray[np.float64]]) -> Aggregated:
        return self._part.aggregate(member, t, delta)

    def rows(self, embeddings: NDArray[np.float64], rows: Sequence[Mapping[str, Any]]) -> None:
        self._work.rows(embeddings, rows)

    def progress(self, member: str, t: int, fraction: float, message: str) -> None:
        self._work.progress = (fraction, f"{member} t={t} {message}".strip())


def first_seen(store: DiskStore, key: str) -> float:
    """A time that is written down once, so that a restarted agent derives the same statements from it."""
    known = store.get(key)
    if known is None:
        store.put(key, str(int(time.time())).encode())
        known = store.get(key)
    assert known is not None
    return float(known)
