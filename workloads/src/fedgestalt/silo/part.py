"""One silo's part in one federation round: the board's messages in, the silo's messages and models out.

Everything here happens under one lock. Board entries come from the agent's main loop, updates and embeddings from the
trainer's threads; both end in effects of the session, which this class carries out. Nothing is lost by a kill: the
session is rebuilt by replaying the board over the same store, models are files, and masked vectors lie in the spool.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from fedgestalt.secagg.errors import BoundExceededError, NonFiniteError, SpoolLostError
from fedgestalt.secagg.messages import FaultReason, Kind, Message, Slot
from fedgestalt.secagg.quantise import two_significant_bits
from fedgestalt.secagg.session import SiloSession
from fedgestalt.silo.models import GlobalModel, ModelStore
from fedgestalt.silo.outbox import Board, Outbox
from fedgestalt.silo.store import DiskStore
from fedgestalt.silo.updates import Updates
from fedgestalt.training.config import TrainingConfig
from fedgestalt.training.messages import BOUND_EXCEEDED, STOPPED, Aggregated, LinkRefusal

log = logging.getLogger(__name__)

EVALUATION = "evaluation"
# The longest that a trainer's request waits for the federation before it is told to stop and come again.
PATIENCE_SECONDS = 6 * 3600.0


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
        not_after: int,
    ) -> None:
        self.name, self.training = name, training
        self._identity, self._computation, self._weight = identity, computation, weight
        self._store, self._models, self._outbox, self._board = store, models, outbox, board
        self._hub_key, self._not_after = hub_key, not_after
        self._maths = Updates(training)
        self._session: SiloSession | None = None
        self._changed = threading.Condition(threading.RLock())
        self._pending: dict[tuple[str, int], GlobalModel] = {}
        self._updates: dict[tuple[str, int], Mapping[str, NDArray[np.float64]]] = {}
        self._skipped: set[tuple[str, int]] = set()
        self._tries: dict[tuple[str, int], tuple[int, int]] = {}
        self._begun: set[tuple[int, str, int]] = set()
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
            self._session = SiloSession(
                self.name,
                self._identity,
                self._computation,
                attempt,
                self._weight,
                self._store,
                hub_key=self._hub_key,
                not_after=self._not_after,
                now=time.time(),
            )
            self._apply(self._session.open())

    def on_message(self, message: Message) -> None:
        """One message of the board, in order."""
        with self._changed:
            session = self._session
            if message.slot.kind == Kind.FAILED:
                self.end(f"the round failed: {message.body['reason']}")
            elif message.slot.kind == Kind.RELEASED:
                self.end("the round is over")
            if session is not None and message.slot.enrolment == session.enrolment_number:
                self._apply(session.on(message))
            self._changed.notify_all()

    @property
    def session(self) -> SiloSession:
        """The current session; only after :meth:`enrol`."""
        if self._session is None:
            raise RuntimeError("the silo has not enrolled")
        return self._session

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

    # ------------------------------------------------------------------ the trainer's side

    def resume(self) -> dict[str, GlobalModel]:
        """The members whose global model is known."""
        with self._changed:
            known = ((member.name, self._models.get(member.name)) for member in self.training.members)
            return {name: model for name, model in known if model is not None}

    def initial(self, member: str, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """The model at t = 0 as the trainer derives it. A repetition must be equal."""
        with self._changed:
            known = self._models.get(member)
            fresh = GlobalModel(0, dict(tensors), "")
            fresh = GlobalModel(0, fresh.tensors, fresh.hash)
            if known is None:
                self._models.put(member, fresh)
            elif known.initial_hash != fresh.initial_hash:
                raise LinkRefusal(
                    STOPPED, f"{member}: another start than before; the task or the weights changed"
                )
            self._begin_next()

    def aggregate(self, member: str, t: int, delta: Mapping[str, NDArray[np.float64]]) -> Aggregated:
        """Take an update, wait until its communication round is over, return the global model that follows."""
        with self._changed:
            self._wait(lambda: self._session is not None and self._session.enrolled)
            current = self._model(member)
            if current.t < t - 1:
                raise LinkRefusal(STOPPED, f"{member} t={t}: the federation is still at t={current.t}")
            if current.t == t - 1:
                self._updates[(member, t)] = delta
                self._send(member, t)
            self._wait(lambda: self._model(member).t >= t)
            self._updates.pop((member, t), None)
            model = self._model(member)
            return Aggregated(model.t, model.tensors, (member, t) in self._skipped)

    def _wait(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if self._ended:
                raise LinkRefusal(STOPPED, self._ended)
            left = until - time.monotonic()
            if left <= 0:
                raise LinkRefusal(STOPPED, "the federation did not move; see the round's waitingFor")
            self._changed.wait(min(left, 60.0))

    def _model(self, member: str) -> GlobalModel:
        model = self._models.get(member)
        if model is None:
            raise LinkRefusal(STOPPED, f"{member}: its start is not known yet")
        return model

    # ------------------------------------------------------------------ effects

    def _apply(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
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
                    self._advanced(member, t, model_hash)
                case Skipped(member, t):
                    self._skip(member, t)
                case Retry(member, t, attempt, scale):
                    before = self._tries.get((member, t), (1, 1))[1]
                    self._tries[(member, t)] = (attempt, scale)
                    if scale != before and (member, t) in self._updates:
                        self._send(member, t)
                case Enrolled():
                    log.info("%s: enrolled with %s", self.name, ", ".join(self.session.roster))
                    if self.on_enrolled is not None:
                        self.on_enrolled()
                    self._begin_next()
                case Ignored(slot, why):
                    log.warning("%s: not believed: %s: %s", self.name, slot, why)
                case Void(reason):
                    log.warning("%s: the enrolment is void: %s", self.name, reason)
                case Fault(reason, detail, slot):
                    log.error("%s: %s at %s: %s", self.name, reason, slot, detail)

    def _fetch(self, wanted: Fetch) -> None:
        model = self._models.get(wanted.member)
        if model is not None and model.t >= wanted.t:
            return  # a replay: that sum is in the model already
        data = self._board.download(self._computation.round, wanted.digest)
        self._apply(self.session.on_blob(wanted.digest, data))

    def _summed(self, effect: Summed) -> None:
        member, t = effect.member, effect.t
        if member == EVALUATION:
            if self.on_evaluation is None:
                return
            digest = self.on_evaluation((effect.total % 2**32).astype(np.uint32))
            self._apply(self.session.confirm_model(member, t, digest))
            return
        current = self._model(member)
        if current.t != t - 1:
            return
        new = self._maths.step(self.session, effect, current, self._scale(member, t))
        self._pending[(member, t)] = new
        self._apply(self.session.confirm_model(member, t, bytes.fromhex(new.hash)))

    def _advanced(self, member: str, t: int, model_hash: bytes) -> None:
        if member == EVALUATION:
            return
        current = self._model(member)
        new = self._pending.pop((member, t), None)
        if current.t < t:
            if new is None or bytes.fromhex(new.hash) != model_hash:
                self.fault(FaultReason.MODEL_MISMATCH, "another model than the quorum's", member, t)
                self.end("this silo's model differs from the quorum's")
                return
            self._models.put(member, new)
            log.info("%s: %s t=%d done", self.name, member, t)
        self._after(member, t, model_hash)

    def _skip(self, member: str, t: int) -> None:
        current = self._model(member)
        if current.t < t:
            self._models.put(
                member,
                GlobalModel(t, current.tensors, current.initial_hash, current.strategy, current.previous),
            )
        self._skipped.add((member, t))
        self._after(member, t, bytes.fromhex(current.hash))

    def _after(self, member: str, t: int, base: bytes) -> None:
        self._changed.notify_all()
        if t < self.training.communication_rounds:
            self.begin(member, t + 1, base)
        else:
            self._begin_next()

    def _begin_next(self) -> None:
        """Begin t = 1 of the first member that has not begun, once its start is known and the silo is enrolled."""
        if self._session is None or not self._session.enrolled:
            return
        for member in self.training.trainable:
            model = self._models.get(member.name)
            if model is None:
                return
            self.begin(member.name, 1, bytes.fromhex(model.initial_hash))
            if model.t < self.training.communication_rounds:
                return

    def _send(self, member: str, t: int) -> None:
        scale, delta = self._scale(member, t), self._updates[(member, t)]
        try:
            vector = self._maths.encode(self.session, member, delta, self._model(member), scale)
        except NonFiniteError as error:
            self.fault(FaultReason.NON_FINITE, str(error), member, t)
            raise LinkRefusal(BOUND_EXCEEDED, str(error)) from error
        except BoundExceededError as error:
            # Not the end: the hub answers with a retry at a wider bound for all, and the trainer goes on waiting.
            self.fault(FaultReason.BOUND_EXCEEDED, str(error), member, t)
            return
        self.submit(member, t, vector, scale=scale)

    def _scale(self, member: str, t: int) -> int:
        return self._tries.get((member, t), (1, 1))[1]


def silo_weight(photos: int) -> int:
    """The public weight of a silo: its number of training photos to two significant bits."""
    return two_significant_bits(max(photos, 1))
