"""The course of a round's models at one silo: from an update to the masked sum, and from the sum to the next global model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedgestalt.secagg.effects import Summed
from fedgestalt.secagg.errors import BoundExceededError, NonFiniteError
from fedgestalt.secagg.messages import FaultReason
from fedgestalt.secagg.session import SiloSession
from fedgestalt.silo.models import GlobalModel, ModelStore
from fedgestalt.silo.updates import Updates
from fedgestalt.training.config import TrainingConfig
from fedgestalt.training.messages import BOUND_EXCEEDED, STOPPED, Aggregated, LinkRefusal

log = logging.getLogger(__name__)


class Steps(Protocol):
    """What the course of the models asks of the silo's part in the round (:class:`fedgestalt.silo.part.RoundPart`)."""

    @property
    def session(self) -> SiloSession:
        """The current session."""
        ...

    @property
    def enrolled(self) -> bool:
        """Whether its enrolment stands."""
        ...

    def begin(self, member: str, t: int, base: bytes) -> None:
        """Take part in the aggregation of (member, t)."""
        ...

    def submit(self, member: str, t: int, vector: NDArray[np.uint32], *, scale: int | None = None) -> None:
        """Hand over its vector."""
        ...

    def confirm(self, member: str, t: int, model_hash: bytes) -> None:
        """State what followed from its sum."""
        ...

    def fault(self, reason: FaultReason, detail: str, member: str = "", t: int = 0) -> None:
        """Tell the hub what went wrong."""
        ...

    def end(self, why: str) -> None:
        """Take no further part."""
        ...

    def started(self) -> None:
        """A member's start is known now."""
        ...


class Course:
    """The global models of one silo in one round. Not safe for threads: whoever calls holds the part's lock."""

    def __init__(self, steps: Steps, training: TrainingConfig, models: ModelStore) -> None:
        self._steps, self._training, self._models = steps, training, models
        self._maths = Updates(training)
        self._pending: dict[tuple[str, int], GlobalModel] = {}
        self._updates: dict[tuple[str, int], Mapping[str, NDArray[np.float64]]] = {}
        self._skipped: set[tuple[str, int]] = set()
        self._tries: dict[tuple[str, int], tuple[int, int]] = {}

    # ------------------------------------------------------------------ what the trainer brings and takes

    def known(self) -> dict[str, GlobalModel]:
        """The members whose global model is known."""
        found = ((member.name, self._models.get(member.name)) for member in self._training.members)
        return {name: model for name, model in found if model is not None}

    def unknown(self, member: str) -> bool:
        """Whether a member is trained whose start the trainer has not derived yet."""
        trained = any(known.name == member for known in self._training.trainable)
        return trained and self._models.get(member) is None

    @property
    def complete(self) -> bool:
        """Whether every trained member's last global model is known."""
        models = (self._models.get(member.name) for member in self._training.trainable)
        return all(model is not None and model.t >= self._training.communication_rounds for model in models)

    def model(self, member: str) -> GlobalModel:
        """A member's global model.

        Raises:
            LinkRefusal: the trainer has not derived its start yet.
        """
        model = self._models.get(member)
        if model is None:
            raise LinkRefusal(STOPPED, f"{member}: its start is not known yet")
        return model

    def initial(self, member: str, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """The model at t = 0 as the trainer derives it. A repetition must be equal."""
        known = self._models.get(member)
        fresh = GlobalModel(0, dict(tensors), "")
        fresh = GlobalModel(0, fresh.tensors, fresh.hash)
        if known is None:
            self._models.put(member, fresh)
            self._steps.started()
        elif known.initial_hash != fresh.initial_hash:
            raise LinkRefusal(
                STOPPED, f"{member}: another start than before; the task or the weights changed"
            )
        self.begin_next()

    def offer(self, member: str, t: int, delta: Mapping[str, NDArray[np.float64]]) -> None:
        """The trainer's update of communication round ``t``; one that is in the model already is not needed.

        Raises:
            LinkRefusal: the federation is not there yet, or the update holds NaN or infinity.
        """
        current = self.model(member)
        if current.t < t - 1:
            raise LinkRefusal(STOPPED, f"{member} t={t}: the federation is still at t={current.t}")
        if current.t == t - 1:
            self._updates[(member, t)] = delta
            self._send(member, t)

    def take(self, member: str, t: int) -> Aggregated:
        """The global model that followed communication round ``t``, once there is one."""
        self._updates.pop((member, t), None)
        model = self.model(member)
        return Aggregated(model.t, model.tensors, (member, t) in self._skipped)

    # ------------------------------------------------------------------ what the round brings

    def holds(self, member: str, t: int) -> bool:
        """Whether the sum of (member, t) is in the model already, as it is when a board is replayed."""
        model = self._models.get(member)
        return model is not None and model.t >= t

    def summed(self, effect: Summed) -> None:
        """The verified sum of the survivors' vectors: compute the model that follows, and state its hash."""
        member, t = effect.member, effect.t
        current = self.model(member)
        if current.t != t - 1:
            return
        new = self._maths.step(self._steps.session, effect, current, self._scale(member, t))
        self._pending[(member, t)] = new
        self._steps.confirm(member, t, bytes.fromhex(new.hash))

    def advanced(self, member: str, t: int, model_hash: bytes) -> None:
        """The quorum holds the model of this hash: so must this silo, or it goes no further."""
        current = self.model(member)
        new = self._pending.pop((member, t), None)
        if current.t < t:
            if new is None or bytes.fromhex(new.hash) != model_hash:
                self._steps.fault(FaultReason.MODEL_MISMATCH, "another model than the quorum's", member, t)
                self._steps.end("this silo's model differs from the quorum's")
                return
            self._models.put(member, new)
            log.info("%s t=%d done", member, t)
        self._after(member, t, model_hash)

    def skip(self, member: str, t: int) -> None:
        """Communication round ``t`` keeps the model of the one before."""
        current = self.model(member)
        if current.t < t:
            self._models.put(
                member,
                GlobalModel(t, current.tensors, current.initial_hash, current.strategy, current.previous),
            )
        self._skipped.add((member, t))
        self._after(member, t, bytes.fromhex(current.hash))

    def retried(self, member: str, t: int, attempt: int, scale: int) -> None:
        """Another try, at ``scale`` times the public bounds: an update that did not fit is sent again if it does now."""
        before = self._scale(member, t)
        self._tries[(member, t)] = (attempt, scale)
        if scale != before and (member, t) in self._updates:
            self._send(member, t)

    def begin_next(self) -> None:
        """Begin t = 1 of the first member that has not begun, once its start is known and the silo is enrolled."""
        if not self._steps.enrolled:
            return
        for member in self._training.trainable:
            model = self._models.get(member.name)
            if model is None:
                return
            self._steps.begin(member.name, 1, bytes.fromhex(model.initial_hash))
            if model.t < self._training.communication_rounds:
                return

    def _after(self, member: str, t: int, base: bytes) -> None:
        if t < self._training.communication_rounds:
            self._steps.begin(member, t + 1, base)
        else:
            self.begin_next()

    def _send(self, member: str, t: int) -> None:
        scale, delta = self._scale(member, t), self._updates[(member, t)]
        try:
            vector = self._maths.encode(self._steps.session, member, delta, self.model(member), scale)
        except NonFiniteError as error:
            self._steps.fault(FaultReason.NON_FINITE, str(error), member, t)
            raise LinkRefusal(BOUND_EXCEEDED, str(error)) from error
        except BoundExceededError as error:
            # Not the end: the hub answers with a retry at a wider bound for all, and the trainer goes on waiting.
            self._steps.fault(FaultReason.BOUND_EXCEEDED, str(error), member, t)
            return
        self._steps.submit(member, t, vector, scale=scale)

    def _scale(self, member: str, t: int) -> int:
        return self._tries.get((member, t), (1, 1))[1]
