"""The secure sum of one (member, t), the silo's side: its tries, one after another, until it is over."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from fedgestalt.crypto.ring import Ring
from fedgestalt.secagg.attempt import Attempt
from fedgestalt.secagg.effects import Advanced, Effect, Ignored, Retry, Skipped
from fedgestalt.secagg.errors import SessionError, SpoolLostError
from fedgestalt.secagg.kinds import FaultReason, Kind
from fedgestalt.secagg.messages import Message
from fedgestalt.secagg.party import Party


class Aggregation:
    """Follows the board through the tries of (member, t) and hands the silo's vector to the open one."""

    def __init__(self, party: Party, member: str, t: int) -> None:
        self._party, self._member, self._t = party, member, t
        self._model: bytes | None = None
        self._vector: Ring | None = None
        self.scale = 1
        self._hashes: defaultdict[bytes, set[str]] = defaultdict(set)
        self.over = False
        self.current = Attempt(party, member, t, 1)

    def begin(self, model: bytes) -> list[Effect]:
        """The silo holds the global model of t - 1 and begins local training."""
        if self._model not in (None, model):
            raise SessionError(f"{self._member} t={self._t} began with another global model")
        self._model = model
        return [] if self.over else self.current.start(model)

    def submit(self, vector: Ring, scale: int | None) -> list[Effect]:
        """Local training is done: the vector of this (member, t) under ``scale`` times the public bounds."""
        if vector.ndim != 1 or vector.dtype != np.uint32:
            raise SessionError("a vector is one-dimensional and uint32")
        if self.over:
            return []
        if scale not in (None, self.scale):
            raise SessionError(f"the open try has {self.scale} times the bounds; quantise again for it")
        self._vector = np.ascontiguousarray(vector)
        return self.current.mask(self._vector)

    def confirm(self, model: bytes) -> list[Effect]:
        """The server step is done: post the new model's hash."""
        if self.over:
            return []
        if self.current.digest is None:
            raise SessionError(f"{self._member} t={self._t} has no sum yet, so there is no model to confirm")
        return [self._party.pen.post(Kind.MODEL, {"hash": model}, self.current.at)]

    def on(self, message: Message) -> list[Effect]:
        """Advance by one message of this (member, t)."""
        if self.over or message.slot.attempt < self.current.at[2]:
            return []
        if message.slot.attempt > self.current.at[2]:
            return [Ignored(message.slot, "the try before it is still open")]
        match message.slot.kind:
            case Kind.RETRY:
                return self._on_retry(message)
            case Kind.SKIP:
                self._end()
                return [Skipped(self._member, self._t)]
            case Kind.MODEL:
                self._hashes[message.body["hash"]].add(message.slot.sender)
                return []
            case Kind.ADVANCE:
                return self._on_advance(message)
            case Kind.KEYS if message.slot.sender == self._party.name:
                # After a restart the board, not the agent, says with which model this t was begun.
                if self._model is None:
                    self._model = message.body["model"]
        effects = self.current.on(message, self._model)
        if message.slot.kind is Kind.SENDERS:
            effects += self._mask()
        return effects

    def _mask(self) -> list[Effect]:
        try:
            return self.current.mask(self._vector)
        except SpoolLostError:
            return self.current.mask(None)

    def _on_retry(self, message: Message) -> list[Effect]:
        number = self.current.at[2] + 1
        scale = message.body["scale"]
        if scale != self.scale:
            self._vector = None
        self.scale = scale
        self._hashes.clear()
        self.current = Attempt(self._party, self._member, self._t, number)
        effects: list[Effect] = [Retry(self._member, self._t, number, scale)]
        return effects if self._model is None else [*effects, *self.current.start(self._model)]

    def _on_advance(self, message: Message) -> list[Effect]:
        agreed = message.body["hash"]
        if len(self._hashes[agreed]) < self._party.tau:
            detail = "advance was declared without enough equal model hashes"
            return self._party.pen.fault(FaultReason.MODEL_MISMATCH, detail, self.current.at)
        self._end()
        return [Advanced(self._member, self._t, agreed)]

    def _end(self) -> None:
        self.over = True
        self._vector = None
