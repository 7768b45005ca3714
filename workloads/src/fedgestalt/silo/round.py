"""What an agent does for one round: tasks and the board's messages in, the right things done with them, statuses out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from fedgestalt.crypto.errors import SignatureError
from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.errors import ExchangeError
from fedgestalt.secagg.messages import FaultReason, Kind, Message, verify
from fedgestalt.silo.admission import Admission, decline
from fedgestalt.silo.afresh import begin, burn, burnt, unfinished
from fedgestalt.silo.assembly import assemble
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.fetching import BundleFetch
from fedgestalt.silo.leaving import Leave, remember, remembered
from fedgestalt.silo.outbox import Board
from fedgestalt.silo.part import RoundPart, is_of_hub
from fedgestalt.silo.permission import Permission
from fedgestalt.silo.refusal import TaskRefusal
from fedgestalt.silo.results import Results
from fedgestalt.silo.vault import EpochVault
from fedgestalt.silo.workloads import Workloads
from fedgestalt.silo.workplace import Workplace

log = logging.getLogger(__name__)

TASK_KINDS: Final = ("Enrol", "Train", "Encode")
_REWOUND: Final = "the board was set back behind what this silo saw of it"


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
        self._site, self._vault, self._permission = site, vault, permission
        self._place = Workplace.open(round_uid, site, identity, board, vault)
        self._log: list[Message] = []
        """Everything on the board, believed or not: what a new attempt is replayed from."""
        self._believed: list[Message] = []
        """The computation and the messages of this attempt whose signatures hold."""
        if unfinished(self._place.store):  # a kill may have come in between
            self._place = self._emptied()
        self._attempt = self._burnt = burnt(self._place.store)
        self._rewound = False
        self._computation: Mapping[str, Any] | None = None
        self._part: RoundPart | None = None
        self._results: Results | None = None
        self._workloads: Workloads | None = None
        self._admission: Admission | None = None
        self._fetch: BundleFetch | None = None
        self._leave = Leave(round_uid, site.name, permission)
        self.asked = True
        """Whether a task asks for this round. Of one that was taken back while the agent was away only the end matters."""
        self.finished = self.dormant = self._place.finished
        self._left = remembered(self._place.store)
        if self._left is not None:
            self.finished, self.dormant = True, False  # its tasks go on to say why
        if self.finished:
            self._place.forget()
            permission.over(round_uid)

    # ------------------------------------------------------------------ tasks

    def on_task(self, kind: str, digest: str, attempt: int) -> None:
        """A SiloTask for this round. Repetitions are harmless.

        Raises:
            TaskRefusal: this site takes no part.
        """
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
            part = self._part or self._assemble(first)
        except SignatureError as error:
            self._attempt -= 1
            raise TaskRefusal("HubNotBelieved", str(error)) from error
        except TaskRefusal:
            self._attempt -= 1  # may be asked again: a lost release may come back
            raise
        self._believed = [first]
        begin(self._place.store, self._attempt)
        part.enrol(self._attempt)
        for message in list(self._log):
            if self._part is part and message.slot.enrolment == self._attempt:
                self._deliver(part, message)

    def _assemble(self, first: Message) -> RoundPart:
        made = assemble(self._place, first, self._admit)
        made.part.on_enrolled = self._enrolled
        self._computation, self._part = made.computation, made.part
        self._results, self._workloads = made.results, made.workloads
        self._admission, self._fetch = made.admission, made.fetch
        return made.part

    def _admit(self, digest: bytes, computation: Mapping[str, Any]) -> None:
        # What was granted once stays so for the round: the steward revokes, a restart does not.
        if not self._permission.admitted(self.uid, digest):
            try:
                self._check_grant(digest, computation)
            except TaskRefusal:
                decline(self._place, computation, self._attempt)
                raise

    def _check_grant(self, digest: bytes, computation: Mapping[str, Any]) -> None:
        problems = self._permission.admit(self.uid, digest, computation)
        if problems:
            raise TaskRefusal.by_grants(problems)

    def _enrolled(self) -> None:
        """An enrolment stands: what it drew for the epoch outlives the round."""
        part, computation = self._part, self._computation
        assert part is not None
        assert computation is not None
        key = part.session.fresh_epoch
        if key is not None:
            self._vault.put(part.session.h, key)
        refusal: TaskRefusal | None = None
        if self._admission is not None and not part.posted(Kind.ADMIT):
            try:
                # Once more: whom it admits, a silo cannot put out again.
                self._check_grant(part.session.computation.digest, computation)
            except TaskRefusal as error:
                refusal = error
        if refusal is None:
            spent = self._permission.count(self.uid, part.session.h)
            refusal = None if spent is None else TaskRefusal.by_grants([spent])
        if refusal is not None:
            self._leave.decide(part, refusal)  # the next look says so to the others
        elif self._admission is not None:
            self._admission.enrolled()

    # ------------------------------------------------------------------ the board

    def on_message(self, seq: int, message: Message, *, complete: bool) -> None:
        """A message of the board, in order; one that became complete comes again and is not news."""
        if seq <= len(self._log):
            return
        self._log.append(message)
        self._leave.heard()
        if self._left is not None:
            return
        if self._part is not None and message.slot.enrolment == self._attempt:
            self._deliver(self._part, message)
        elif not self.asked and message.slot.kind in (Kind.RELEASED, Kind.FAILED):
            self._missed(message)
        own = message.slot.sender == self._site.name
        if own and not complete:
            for digest in message.blobs:  # announced before a crash: the spooled bytes, not new ones
                if self._place.outbox.spooled(digest):
                    self._place.outbox.send_blob(self.uid, digest)

    def _deliver(self, part: RoundPart, message: Message) -> None:
        stood = part.session.enrolled
        part.on_message(message)
        try:
            part.session.verify(message)
        except SignatureError as error:
            log.warning("not believed: %s", error)
            return
        self._believed.append(message)
        kind, results = message.slot.kind, self._results
        assert results is not None
        if stood and kind == Kind.VOID:
            self._begin_afresh(f"the enrolment is void: {message.body['reason']}")
            return
        if kind in (Kind.RELEASED, Kind.FAILED):
            if kind == Kind.RELEASED and part.session.enrolled:
                results.keep(self._believed)
            if self._workloads is not None and not self.finished:
                self._workloads.poll()
                self._workloads.finish(released=kind == Kind.RELEASED)
            self._finish(part)
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
        """The board was set back: this silo takes no further part in any enrolment that it was in, and reads it anew.

        An agent that was started anew has nothing yet to sign a fault with; its tasks' status says it in any case.
        """
        if self.finished:
            return
        self._rewound = True
        if self._part is not None:
            try:
                self._part.fault(FaultReason.BOARD_REWOUND, detail)
            except ExchangeError as error:  # the board may not know this silo's enrolment any more
                log.warning("the fault could not be posted: %s", error)
        self._begin_afresh(detail)
        self._log.clear()

    def _begin_afresh(self, why: str) -> None:
        """End all work of this enrolment and forget what it made; the next one begins with nothing."""
        log.warning("round %s: beginning afresh: %s", self.uid[:8], why)
        if self._workloads is not None:
            self._workloads.stop()
        if self._part is not None:
            self._part.end(why)
        self._place = self._emptied()
        self._attempt = self._burnt = max(burnt(self._place.store), self._attempt)
        self._part = self._results = self._workloads = self._admission = self._fetch = None
        self._believed.clear()
        self._leave = Leave(self.uid, self._site.name, self._permission)

    def _emptied(self) -> Workplace:
        place = self._place
        burn(place)
        place.store.close()
        return Workplace.open(self.uid, self._site, place.identity, place.board, place.vault)

    # ------------------------------------------------------------------ trainer and encoder

    def _start(self, task: str) -> None:
        # A task may be faster than what it stands on. It is offered again.
        if self._workloads is not None and self._ready(task):
            self._workloads.start(task)

    def _ready(self, task: str) -> bool:
        part, results = self._part, self._results
        assert part is not None
        assert results is not None
        if results.bundle.exists():
            return True
        if self._admission is not None:
            return False  # a newcomer's bundle: its key is on its way
        if task == "Train":
            return True
        # The hub asks for rows when the quorum has the last model, which this silo may not have read on the board yet.
        with part.lock:
            return part.course.complete

    def poll(self) -> None:
        """Watch the processes and the grant, and fetch what is missing.

        Raises:
            Exception: something of the round could not be carried out; only a restart of the agent mends that.
        """
        if self._part is not None and self._part.broken is not None and not self.finished:
            raise self._part.broken
        if self._part is not None and not self.finished:
            why = self._leave.due(self._part, self._believed)
            if why is not None:
                self._go(self._part, why)
        if self._fetch is not None:
            self._fetch.poll()
        if self._workloads is not None and not self.finished:
            self._workloads.poll()

    def task_status(self, kind: str, attempt: int | None = None) -> dict[str, Any]:
        """What the hub may know of a task of this round; None for the attempt: the current one."""
        if self._left is not None:
            return dict(self._left[1].get(kind) or self._left[1][TASK_KINDS[-1]])
        if self._rewound and (attempt or self._attempt) <= self._burnt:
            return TaskRefusal(FaultReason.BOARD_REWOUND, _REWOUND).status()
        if kind == "Enrol":
            enrolled = self._part is not None and self._part.session.enrolled
            phase = "Succeeded" if enrolled else "Running"
            return {"phase": phase, "fraction": float(enrolled), "message": ""}
        if self._workloads is None:
            return {"phase": "Pending", "fraction": 0.0, "message": ""}
        return self._workloads.status(kind)

    # ------------------------------------------------------------------ the end

    def _go(self, part: RoundPart, refusal: TaskRefusal) -> None:
        """Say so on the board, end the workloads, and forget the round's secrets: it is not taken up again."""
        why, failed = str(refusal), refusal.status()
        said = {kind: self.task_status(kind) for kind in TASK_KINDS}
        statuses = {k: status if status["phase"] == "Succeeded" else failed for k, status in said.items()}
        part.fault(FaultReason(refusal.reason), why)
        part.end(why)
        if self._workloads is not None:
            self._workloads.stop()
            self._workloads = None
        remember(self._place.store, why, statuses)
        self._left = why, statuses
        self._finish(part)

    def _missed(self, message: Message) -> None:
        """The hub's last word in a round whose tasks are gone: too late to keep a release of it, but its secrets go."""
        if not is_of_hub(message, self._site.hub_key):
            return
        log.warning("round %s ended while this silo was away", self.uid[:8])
        self._finish(None)

    def _finish(self, part: RoundPart | None) -> None:
        """The round is over: its secrets go, the epoch's stay."""
        if self.finished:
            return
        self.finished = True
        # In this order: a round that lost its secrets and does not know that it is over could not be taken up again.
        self._place.finish()
        if part is not None:
            part.session.close()
        self._place.forget()
        self._permission.over(self.uid)

    def stop(self) -> None:
        """End the processes and the link; everything goes on after a restart."""
        if self._workloads is not None:
            self._workloads.stop()
        self._place.store.close()
