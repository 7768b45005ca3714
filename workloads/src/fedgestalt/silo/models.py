"""The global model of each member as this silo knows it, durable, with what the next server step needs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgestalt.files import private_directory, write_atomic
from fedgestalt.models.digest import model_hash

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class GlobalModel:
    """One member after communication round ``t`` (0: the start).

    Attributes:
        t: rounds completed.
        tensors: float32, by name.
        strategy: the server optimizer's memory, float64, by name.
        previous: the mean update that led here, float64, by name; empty at t = 0. Bounds of statistics derive from it.
        initial_hash: the hash at t = 0, which a restarted agent needs to replay the board.
    """

    t: int
    tensors: Mapping[str, Float32]
    initial_hash: str
    strategy: Mapping[str, Float64] = field(default_factory=dict)
    previous: Mapping[str, Float64] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """SHA-256 over the tensors, hex."""
        return model_hash(self.tensors)


class ModelStore:
    """One file per member, replaced whole at each step."""

    def __init__(self, directory: Path) -> None:
        self._directory = private_directory(directory)
        self._models: dict[str, GlobalModel] = {}

    def get(self, member: str) -> GlobalModel | None:
        """The member's model, from memory or disk; None before its start is known."""
        if member not in self._models:
            path = self._path(member)
            if not path.exists():
                return None
            self._models[member] = _decode(path.read_bytes())
        return self._models[member]

    def put(self, member: str, model: GlobalModel) -> None:
        """Make ``model`` the member's model; on the disk before this returns."""
        write_atomic(self._path(member), _encode(model))
        self._models[member] = model

    def _path(self, member: str) -> Path:
        return self._directory / f"{member}.npz"


def _encode(model: GlobalModel) -> bytes:
    arrays: dict[str, NDArray[Any]] = {}
    for prefix, group in (
        ("tensors", model.tensors),
        ("strategy", model.strategy),
        ("previous", model.previous),
    ):
        arrays.update({f"{prefix}:{name}": array for name, array in group.items()})
    head = json.dumps({"t": model.t, "initial": model.initial_hash}).encode()
    arrays["head"] = np.frombuffer(head, dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _decode(data: bytes) -> GlobalModel:
    groups: dict[str, dict[str, NDArray[Any]]] = {"tensors": {}, "strategy": {}, "previous": {}}
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        head = json.loads(file["head"].tobytes())
        for key in file.files:
            prefix, _, name = key.partition(":")
            if prefix in groups:
                groups[prefix][name] = file[key]
    return GlobalModel(head["t"], groups["tensors"], head["initial"], groups["strategy"], groups["previous"])
