"""One silo's part in one federation round: the board's messages in, the silo's messages out.

Everything here happens under one lock. Board entries come from the agent's main loop, updates and embeddings from the
trainer's threads (:mod:`fedgestalt.silo.handler`); both end in effects of the session, which this class carries out, those on
the models by :mod:`fedgestalt.silo.course`. Nothing is lost by a kill: the session is rebuilt by replaying the board over the
same store, models are files, and masked vectors lie in the spool.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.crypto.errors import SignatureError
from fedgestalt.crypto.keys import Identity
from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.effects import (
    Advanced,
    Effect,
    Enrolled,
    Fault,
    Fetch,
    Ignored,
    Masked,
    Post,
    Retry,
    Skipped,
    Summed,
    Void,
)
from fedgestalt.secagg.errors import SpoolLostError
from fedgestalt.secagg.messages import FaultReason, Kind, Message, Slot, verify
from fedgestalt.secagg.quantise import two_significant_bits
from fedgestalt.secagg.session import SiloSession
from fedgestalt.silo.course import Course
from fedgestalt.silo.models import ModelStore
from fedgestalt.silo.outbox import Board, Outbox
from fedgestalt.silo.store import DiskStore
from fedgestalt.training.config import TrainingConfig

log = logging.getLogger(__name__)

EVALUATION = "evaluation"
DELEGATION_SECONDS: Final = 7 * 86400
_OF_THE_MODEL: Final = (Kind.AGGREGATE, Kind.ADVANCE, Kind.SKIP)


class RoundPart:
    """One silo in one round, over all its enrolment attempts."""

    def __init__(
        self,
        *,
        name: str,
        identity: Identity,
        computation: Computation,
        training: TrainingConfig,
        weight: int,
        store: DiskStore,
        models: ModelStore,
        outbox: Outbox,
        board: Board,
        hub_key: bytes,
        began: Callable[[int], int],
    ) -> None:
        """``began``: when this silo began an enrolment attempt, Unix seconds; after a restart still the same."""
        self.name, self.training = name, training
        self._identity, self._computation, self._weight = identity, computation, weight
        self._store, self._outbox, self._board = store, outbox, board
        self._hub_key, self._began = hub_key, began
        self.course = Course(self, training, models)
        """How the models move; call it under :attr:`lock`."""
        self._session: SiloSession | None = None
        self._changed = threading.Condition(threading.RLock())
        self._begun: set[tuple[int, str, int]] = set()
        self._held: list[Message] = []
        """Messages from the first one on that needs a model whose start the trainer has not derived yet."""
        self.broken: Exception | None = None
        """What kept an effect from being carried out. The session believes it done: only a restart, which replays the
        board, mends that, whichever thread met it."""
        self._ended = self._leaving = ""
        self.on_evaluation: Callable[[NDArray[np.uint32]], bytes] | None = None
        """Called with the unblinded sum of the evaluation's contributions; returns the hash that confirms it."""
        self.on_enrolled: Callable[[], None] | None = None
        """Called when an enrolment stands."""

    # ------------------------------------------------------------------ the board's side

    def enrol(self, attempt: int) -> None:
        """Begin (or, after a restart, rebuild) the enrolment attempt ``attempt``."""
        with self._changed:
            if self._session is not None and self._session.enrolment_number >= attempt:
                return
            log.info("%s: enrolling, attempt %d", self.name, attempt)
            self._held.clear()
            # By the time of the first start, also for the others' delegations: an enrolment that stood is not judged anew.
            now = self._began(attempt)
            self._session = SiloSession(
                self.name,
                self._identity,
                self._computation,
                attempt,
                self._weight,
                self._store,
                hub_key=self._hub_key,
                not_after=now + DELEGATION_SECONDS,
                now=now,
            )
            self._apply(self._session.open())

    def on_message(self, message: Message) -> None:
        """One message of the board, in order."""
        with self._changed:
            session = self._session
            if message.slot.kind in (Kind.FAILED, Kind.RELEASED) and is_of_hub(message, self._hub_key):
                released = message.slot.kind == Kind.RELEASED
                self.end("the round is over" if released else f"the round failed: {message.body['reason']}")
            if session is not None and message.slot.enrolment == session.enrolment_number:
                if self._held or self._too_early(message):
                    self._held.append(message)
                else:
                    self._apply(session.on(message))
            self._changed.notify_all()

    def started(self) -> None:
        """A member's start is known: what was held back for it is heard now, in order."""
        with self._changed:
            while self._held and not self._too_early(self._held[0]):
                self._apply(self.session.on(self._held.pop(0)))

    def _too_early(self, message: Message) -> bool:
        # The others may finish a communication round while this silo's trainer still aligns its photos. Their sums wait at
        # the exchange, so that no more than one of them is in memory.
        member = message.slot.member
        return message.slot.kind in _OF_THE_MODEL and member != EVALUATION and self.course.unknown(member)

    @property
    def session(self) -> SiloSession:
        """The current session; only after :meth:`enrol`."""
        if self._session is None:
            raise RuntimeError("the silo has not enrolled")
        return self._session

    @property
    def enrolled(self) -> bool:
        """Whether the current enrolment stands."""
        return self._session is not None and self._session.enrolled

    @property
    def lock(self) -> threading.Condition:
        """Held during every change; wait on it for one."""
        return self._changed

    @property
    def ended(self) -> str:
        """Why the round is over; empty while it is not."""
        return self._ended

    def post(self, kind: Kind, body: Mapping[str, Any], *blobs: bytes) -> None:
        """Post a message of a later stage in the current enrolment, with the blobs that it carries.

        What was posted before a restart stands: it is sent again if need be, never made anew.
        """
        with self._changed:
            digests = tuple(hashlib.sha256(blob).hexdigest() for blob in blobs)
            message = self.session.message(kind, body, blobs=digests)
            if not self._outbox.resend(message.slot):
                self._outbox.post_with_blobs(message, *blobs)

    def posted(self, kind: Kind) -> bool:
        """Whether this silo wrote its message of a kind in the current enrolment, before or after a restart."""
        session = self.session
        return self._outbox.holds(
            Slot(session.computation.round, session.enrolment_number, "", 0, 0, kind, self.name)
        )

    def resend(self, kind: Kind) -> None:
        """Send again what :meth:`posted` says was written, with its blobs."""
        with self._changed:
            session = self.session
            self._outbox.resend(
                Slot(session.computation.round, session.enrolment_number, "", 0, 0, kind, self.name)
            )

    def fault(self, reason: FaultReason, detail: str, member: str = "", t: int = 0) -> None:
        """Tell the hub why this silo cannot go on. ``detail`` must hold no data."""
        log.error("%s: %s (%s)", self.name, reason, detail)
        with self._changed:
            self._apply(self.session.fault(reason, detail, member, t))

    def leave(self, why: str) -> None:
        """Begin no aggregation any more; open ones go on, and the trainer is stopped once it asks for another one."""
        with self._changed:
            self._leaving = self._leaving or why
            self._changed.notify_all()

    def end(self, why: str) -> None:
        """The round is over for this silo: whoever waits for it is told."""
        with self._changed:
            self._ended = self._ended or why
            self._changed.notify_all()

    def begin(self, member: str, t: int, base: bytes) -> None:
        """Take part in the aggregation of (member, t) over the model with hash ``base``, unless this silo is leaving."""
        with self._changed:
            if self._leaving:
                return
            key = (self.session.enrolment_number, member, t)
            if key not in self._begun:
                self._begun.add(key)
                self._apply(self.session.begin(member, t, base))

    def submit(self, member: str, t: int, vector: NDArray[np.uint32], *, scale: int | None = None) -> None:
        """Hand over the vector of (member, t), quantised at ``scale`` times the public bounds."""
        with self._changed:
            try:
                effects = self.session.submit(member, t, vector, scale=scale)
            except SpoolLostError as error:
                # Another vector under the same masks would be a two-time pad. If the announced one is in the spool it is
                # what counts; if not, this try is forfeited.
                announced = self.session.announced(member, t)
                if announced is None or not self._outbox.spooled(announced):
                    self.fault(FaultReason.SPOOL_LOST, str(error), member, t)
                return
            self._apply(effects)

    def confirm(self, member: str, t: int, model_hash: bytes) -> None:
        """State the hash (32 bytes) of what followed from the sum of (member, t)."""
        with self._changed:
            self._apply(self.session.confirm_model(member, t, model_hash))

    # ------------------------------------------------------------------ effects

    def _apply(self, effects: Iterable[Effect]) -> None:
        try:
            self._carry_out(effects)
        except Exception as error:
            self.broken = self.broken or error
            raise

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            self._changed.notify_all()
            match effect:
                case Post(message):
                    self._outbox.post(message)
                case Masked(message, None):
                    self._outbox.resend_with_blob(message)
                case Masked(message, bytes() as data):
                    self._outbox.post_with_blobs(message, data)
                case Fetch():
                    self._fetch(effect)
                case Summed():
                    self._summed(effect)
                case Advanced(member, t, model_hash):
                    if member != EVALUATION:
                        self.course.advanced(member, t, model_hash)
                case Skipped(member, t):
                    self.course.skip(member, t)
                case Retry(member, t, attempt, scale):
                    self.course.retried(member, t, attempt, scale)
                case Enrolled():
                    log.info("%s: enrolled with %s", self.name, ", ".join(self.session.roster))
                    if self.on_enrolled is not None:
                        self.on_enrolled()
                    self.course.begin_next()
                case Ignored(slot, why):
                    log.warning("%s: not believed: %s: %s", self.name, slot, why)
                case Void(reason):
                    log.warning("%s: the enrolment is void: %s", self.name, reason)
                case Fault(reason, detail, slot):
                    log.error("%s: %s at %s: %s", self.name, reason, slot, detail)

    def _fetch(self, wanted: Fetch) -> None:
        if self.course.holds(wanted.member, wanted.t):
            return
        data = self._board.download(self._computation.round, wanted.digest)
        self._apply(self.session.on_blob(wanted.digest, data))

    def _summed(self, effect: Summed) -> None:
        if effect.member != EVALUATION:
            self.course.summed(effect)
        elif self.on_evaluation is not None:
            digest = self.on_evaluation((effect.total % 2**32).astype(np.uint32))
            self.confirm(effect.member, effect.t, digest)


def is_of_hub(message: Message, hub_key: bytes) -> bool:
    """Whether the hub signed a message; the log says so if not."""
    try:
        verify(message, hub_key)
    except SignatureError as error:
        log.warning("not believed: %s", error)
        return False
    return True


def silo_weight(photos: int) -> int:
    """The public weight of a silo: its number of training photos to two significant bits."""
    return two_significant_bits(max(photos, 1))
