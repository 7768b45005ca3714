"""A silo for the trainer's own process: photos, task file, and an agent that averages a federation of one."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgestalt.training.messages import Aggregated, LinkRefusal, MemberState
from fedgestalt.training.strategies import FedAvg

Model = dict[str, NDArray[np.float32]]


class Agent:
    """Averages one silo's updates plainly. `gate` holds back the answer of communication round `hold`."""

    def __init__(self, hold: int | None = None, refuse: LinkRefusal | None = None) -> None:
        self._refuse = refuse
        self.models: dict[str, tuple[int, Model]] = {}
        self.updates: dict[tuple[str, int], list[bytes]] = {}
        self.told: list[tuple[str, int, float]] = []
        self.embeddings: NDArray[np.float64] | None = None
        self.rows_told: list[Mapping[str, Any]] = []
        self.handed_over = threading.Event()
        self.gate = threading.Event()
        self.resumed = threading.Semaphore(0)
        self._hold = hold
        self._lock = threading.Lock()

    def resume(self) -> Mapping[str, MemberState]:
        self.resumed.release()
        return {name: MemberState(t, model) for name, (t, model) in self.models.items()}

    def initial(self, member: str, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        self.models.setdefault(member, (0, dict(tensors)))

    def aggregate(self, member: str, t: int, delta: Mapping[str, NDArray[np.float64]]) -> Aggregated:
        with self._lock:
            self.updates.setdefault((member, t), []).append(b"".join(d.tobytes() for d in delta.values()))
        if self._refuse is not None:
            raise self._refuse
        if t == self._hold:
            self.handed_over.set()
            assert self.gate.wait(240.0)
        with self._lock:
            done, model = self.models[member]
            if t == done + 1:
                done, model = t, FedAvg().step(model, delta, {})[0]
                self.models[member] = (done, model)
        return Aggregated(done, model)

    def rows(self, embeddings: NDArray[np.float64], rows: Sequence[Mapping[str, Any]]) -> None:
        self.embeddings, self.rows_told = embeddings, list(rows)

    def progress(self, member: str, t: int, fraction: float, message: str) -> None:
        self.told.append((member, t, fraction))


def write_task(folder: Path, cohort: Path, trained: Sequence[str], cache: Path, **resources: int) -> Path:
    """A task of two communication rounds with the shipped small network; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seed").write_bytes(bytes(range(32)))
    start = {"name": "resnet_s16-faces"}
    task = {
        "training": {
            "members": [
                {"name": "small", "extractor": "resnet_s16", "initialWeights": start, "batchSize": 8},
                {"name": "still", "extractor": "resnet_s16", "initialWeights": start, "trainable": False},
            ],
            "communicationRounds": 2,
            "localEpochs": 2,
            "resources": {"workers": 0, "threads": 1, **resources},
        },
        "cohort": str(cohort),
        "vocabulary": {"trained": list(trained), "rare": []},
        "socket": str(folder / "agent" / "link.sock"),
        "seedFile": str(folder / "seed"),
        "roster": "ab" * 32,
        "publicSeed": "cd" * 32,
        "cache": str(cache),
        "work": str(folder / "work"),
        "bundle": str(folder / "work" / "bundle"),
    }
    path = folder / "task.json"
    path.write_text(json.dumps(task))
    return path


def run_entry(workload: str, task: Path, temporary: Path) -> "subprocess.Popen[str]":
    """Start the workload as sites do, with `temporary` as its TMPDIR and its home."""
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary), "HOME": str(temporary)}
    return subprocess.Popen(
        [sys.executable, "-m", "fedgestalt.training.entry", workload, "--task", str(task)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def finish(process: "subprocess.Popen[str]", limit: float = 200.0) -> str:
    """Wait for success and return what the process wrote; kill it where it does not end."""
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"no end within {limit} s:\n{output[-4000:]}") from None
    assert process.returncode == 0, output[-4000:]
    return output


def same_bits(a: Model, b: Model) -> bool:
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)
