"""The trainer's link into a round: what it brings is handed over, and it waits for the federation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.silo.part import RoundPart
from fedgestalt.training.messages import STOPPED, Aggregated, LinkRefusal, MemberState

Rows = Callable[[NDArray[np.float64], Sequence[Mapping[str, Any]]], None]
Progress = Callable[[float, str], None]

PATIENCE_SECONDS: Final = 6 * 3600.0
"""The longest that a trainer's request waits for the federation before it is told to stop and come again."""


class Handler:
    """Implements :class:`fedgestalt.training.messages.TrainerHandler`; called from the link's threads."""

    def __init__(self, part: RoundPart, rows: Rows, progress: Progress) -> None:
        self._part, self._rows, self._progress = part, rows, progress

    def resume(self) -> Mapping[str, MemberState]:
        """The members whose global model is known."""
        with self._part.lock:
            known = self._part.course.known()
        return {name: MemberState(model.t, model.tensors) for name, model in known.items()}

    def initial(self, member: str, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """The model at t = 0 as the trainer derives it. A repetition must be equal."""
        with self._part.lock:
            self._part.course.initial(member, tensors)

    def aggregate(self, member: str, t: int, delta: Mapping[str, NDArray[np.float64]]) -> Aggregated:
        """Take an update, wait until its communication round is over, return the global model that follows."""
        part = self._part
        with part.lock:
            self._wait(lambda: part.enrolled)
            part.course.offer(member, t, delta)
            self._wait(lambda: part.course.model(member).t >= t)
            return part.course.take(member, t)

    def rows(self, embeddings: NDArray[np.float64], rows: Sequence[Mapping[str, Any]]) -> None:
        """The encoder's embeddings, with a map of metadata for each row."""
        self._rows(embeddings, rows)

    def progress(self, member: str, t: int, fraction: float, message: str) -> None:
        """How far the work is."""
        self._progress(fraction, f"{member} t={t} {message}".strip() if member else message)

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait, with the part's lock, for what the federation brings about."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if self._part.ended:
                raise LinkRefusal(STOPPED, self._part.ended)
            left = until - time.monotonic()
            if left <= 0:
                raise LinkRefusal(STOPPED, "the federation did not move; see the round's waitingFor")
            self._part.lock.wait(min(left, 60.0))
