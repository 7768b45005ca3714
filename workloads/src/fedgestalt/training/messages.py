"""What trainer and silo agent say to each other, and the interface the agent implements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

STOPPED = "stopped"
"""Refusal code: stop now, keep the checkpoint (the round is suspended, or this silo left it)."""
BOUND_EXCEEDED = "bound-exceeded"
"""Refusal code: the delta lies beyond the public bound or is not finite."""


class LinkRefusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """Raised by a handler to answer a request with an error the trainer understands.

    `message` reaches the trainer's log: it must not hold a secret, a label or a value of a tensor.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class MemberState:
    """Where a member stands: communication rounds completed (0: the start) and the global model."""

    t: int
    tensors: Mapping[str, Float32]


@dataclass(frozen=True, slots=True)
class Aggregated:
    """The global model after communication round `t`; `skipped` where the round yielded no aggregate."""

    t: int
    tensors: Mapping[str, Float32]
    skipped: bool = False


class TrainerHandler(Protocol):
    """The silo agent's side. Calls come from threads of the endpoint; any may raise `LinkRefusal`.

    After an interruption the trainer repeats its last request, so every method must accept a repetition.
    """

    def resume(self) -> Mapping[str, MemberState]:
        """State of every member whose global model is known; members without one are missing."""
        ...

    def initial(self, member: str, tensors: Mapping[str, Float32]) -> None:
        """The global model at t = 0, as this silo derives it from the initial weights and the public seed.

        Every silo derives the same one; the agent hashes it and refuses where the roster's hash differs.
        """
        ...

    def aggregate(self, member: str, t: int, delta: Mapping[str, Float64]) -> Aggregated:
        """Take this silo's update of communication round `t` (1, 2, ...) and wait for the new global model.

        `delta` is local minus global per tensor, float64, unweighted, in canonical order of names.
        """
        ...

    def rows(self, embeddings: Float64, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take unit embeddings, float64 [N, D], and one map of metadata per row. A repetition replaces."""
        ...

    def progress(self, member: str, t: int, fraction: float, message: str) -> None:
        """Progress of the work at hand: `fraction` of communication round `t` is done."""
        ...
