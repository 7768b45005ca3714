"""The trainer's link into a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgestalt.silo.part import RoundPart
from fedgestalt.training.messages import Aggregated, MemberState

Rows = Callable[[NDArray[np.float64], Sequence[Mapping[str, Any]]], None]
Progress = Callable[[float, str], None]


class Handler:
    """Implements :class:`fedgestalt.training.messages.TrainerHandler`; called from the link's threads."""

    def __init__(self, part: RoundPart, rows: Rows, progress: Progress) -> None:
        self._part, self._rows, self._progress = part, rows, progress

    def resume(self) -> Mapping[str, MemberState]:
        return {name: MemberState(model.t, model.tensors) for name, model in self._part.resume().items()}

    def initial(self, member: str, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        self._part.initial(member, tensors)

    def aggregate(self, member: str, t: int, delta: Mapping[str, NDArray[np.float64]]) -> Aggregated:
        return self._part.aggregate(member, t, delta)

    def rows(self, embeddings: NDArray[np.float64], rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows(embeddings, rows)

    def progress(self, member: str, t: int, fraction: float, message: str) -> None:
        self._progress(fraction, f"{member} t={t} {message}".strip() if member else message)
