"""A silo agent's handler for tests of the link; every call is recorded."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgestalt.training.messages import Aggregated, LinkRefusal, MemberState
from fedgestalt.training.strategies import FedAvg


class Recorder:
    """Answers an update with itself as the new model. `gate` holds updates back until it is set."""

    def __init__(self) -> None:
        self.states: dict[str, MemberState] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.refusal: LinkRefusal | None = None
        self.bug: Exception | None = None

    def resume(self) -> Mapping[str, MemberState]:
        self._note("resume")
        return self.states

    def initial(self, member: str, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        self._note("initial", member, dict(tensors))

    def aggregate(self, member: str, t: int, delta: Mapping[str, NDArray[np.float64]]) -> Aggregated:
        self._note("aggregate", member, t, dict(delta))
        self.entered.release()
        assert self.gate.wait(20.0)
        return Aggregated(t, {name: d.astype(np.float32) for name, d in delta.items()}, skipped=t == 7)

    def rows(self, embeddings: NDArray[np.float64], rows: Sequence[Mapping[str, Any]]) -> None:
        self._note("rows", embeddings, list(rows))

    def progress(self, member: str, t: int, fraction: float, message: str) -> None:
        self._note("progress", member, t, fraction, message)

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.refusal is not None:
            raise self.refusal
        if self.bug is not None:
            raise self.bug


class Federation(Recorder):
    """An agent whose silo is the whole federation: the new model is the silo's own."""

    def initial(self, member: str, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        super().initial(member, tensors)
        self.states.setdefault(member, MemberState(0, dict(tensors)))

    def aggregate(self, member: str, t: int, delta: Mapping[str, NDArray[np.float64]]) -> Aggregated:
        super().aggregate(member, t, delta)
        model = FedAvg().step(self.states[member].tensors, delta, {})[0]
        self.states[member] = MemberState(t, model)
        return Aggregated(t, model)
