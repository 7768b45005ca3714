"""The trainer's end of the local link to its silo agent. The agent holds the keys; the trainer has none."""

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from .errors import AgentRefusedError, AgentUnreachableError, BoundExceededError, StoppedError, TrainingError
from .frames import Frame, FrameError, Limits, Tensor, read_frame, send_frame
from .messages import BOUND_EXCEEDED, STOPPED, Aggregated, Float32, Float64, MemberState
from .naming import ordered
from .sockets import connect

VERSION: Final = 1
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the trainer waits, in seconds.

    `silence`: without a heartbeat until the connection counts as lost. `unreachable`: of failed reconnecting
    until it gives up. `answer`: for one answer altogether, however alive the agent is.
    """

    silence: float = 30.0
    unreachable: float = 900.0
    answer: float = 12 * 3600.0


class AgentLink:
    """Requests to the silo agent; reconnects and repeats the request when the agent was restarted.

    Not for use from several threads. Every method may raise `AgentUnreachableError`, `AgentRefusedError`,
    `StoppedError` or `BoundExceededError`; the exceptions' exit codes are those of the workload.
    """

    def __init__(self, path: Path, patience: Patience | None = None, limits: Limits | None = None) -> None:
        self._path = path
        self._patience = patience or Patience()
        self._limits = limits or Limits()
        self._sock: socket.socket | None = None
        self._no_progress_before = 0.0

    def resume(self) -> dict[str, MemberState]:
        """Where each member stands, with its global model (float32)."""
        frame = self._call({"op": "resume"}, {})
        split: dict[str, dict[str, Float32]] = {}
        for name, tensor in frame.tensors.items():
            member, _, rest = name.partition("/")
            split.setdefault(member, {})[rest] = np.asarray(tensor, dtype=np.float32)
        members = frame.header.get("members", {})
        return {name: MemberState(int(t), split.get(name, {})) for name, t in members.items()}

    def initial(self, member: str, tensors: Mapping[str, Float32]) -> None:
        """Hand over the derived global model at t = 0."""
        names = ordered(tensors)
        self._call({"op": "initial", "member": member}, {n: tensors[n] for n in names})

    def aggregate(self, member: str, t: int, delta: Mapping[str, Float64]) -> Aggregated:
        """Hand over the update of communication round `t` and wait for the new global model (float32)."""
        tensors: dict[str, Tensor] = {n: np.asarray(delta[n], np.float64) for n in ordered(delta)}
        frame = self._call({"op": "aggregate", "member": member, "t": t}, tensors)
        model = {n: np.asarray(a, dtype=np.float32) for n, a in frame.tensors.items()}
        return Aggregated(int(frame.header["t"]), model, bool(frame.header["skipped"]))

    def rows(self, embeddings: Float64, rows: Sequence[Mapping[str, Any]]) -> None:
        """Hand over unit embeddings, float64 [N, D], with one map of metadata per row."""
        if embeddings.ndim != 2 or len(rows) != len(embeddings):
            raise ValueError(f"{len(rows)} rows of metadata for embeddings of shape {embeddings.shape}")
        header = {"op": "rows", "rows": [dict(row) for row in rows]}
        self._call(header, {"embeddings": np.asarray(embeddings, np.float64)})

    def progress(self, member: str, t: int, fraction: float, message: str) -> None:
        """Tell the agent how far the work is. Best effort: an absent agent does not hold up training."""
        if time.monotonic() < self._no_progress_before:
            return
        header = {"op": "progress", "member": member, "t": t, "fraction": float(fraction), "message": message}
        try:
            self._exchange(header, {}, time.monotonic() + 5.0, silence=5.0)
        except (OSError, AgentRefusedError):
            self.close()
            self._no_progress_before = time.monotonic() + 5.0

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Frame:
        """Send a request until it is answered. Repeating is safe: handlers accept repetitions."""
        size = sum(tensor.nbytes for tensor in tensors.values())
        if size > self._limits.payload:
            # The agent would cut the connection, which looks like a restart: say it before repeating for hours.
            raise AgentRefusedError(
                "too-large",
                f"{header['op']!r} takes {size} bytes, more than the link's {self._limits.payload}",
            )
        begun = last_sign = time.monotonic()
        pause = _FIRST_PAUSE
        while True:
            connected_at = None
            try:
                if self._sock is None:
                    self._sock = connect(self._path, self._patience.silence)
                connected_at = time.monotonic()
                return self._exchange(header, tensors, begun + self._patience.answer, self._patience.silence)
            except OSError as error:
                self.close()
                now = time.monotonic()
                if connected_at is not None:
                    last_sign = max(last_sign, connected_at)
                if now - begun >= self._patience.answer:
                    raise AgentUnreachableError(
                        f"{self._path}: no answer to {header['op']!r} within {self._patience.answer:.0f} s; "
                        "look at the round's waitingFor, then start the workload again"
                    ) from error
                if now - last_sign >= self._patience.unreachable:
                    raise AgentUnreachableError(
                        f"{self._path}: the silo agent is unreachable for {now - last_sign:.0f} s "
                        f"({type(error).__name__}); start the agent, then this workload again"
                    ) from error
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause) if connected_at is None else _FIRST_PAUSE * 5

    def _exchange(
        self, header: Mapping[str, Any], tensors: Mapping[str, Tensor], until: float, silence: float
    ) -> Frame:
        """One request and its answer on the open connection; heartbeats in between only prove life."""
        if self._sock is None:
            self._sock = connect(self._path, silence)
        self._sock.settimeout(silence)
        send_frame(self._sock, {"v": VERSION, **header}, tensors)
        while True:
            frame = read_frame(self._sock, self._limits)
            match frame.header.get("type"):
                case "wait":
                    if time.monotonic() >= until:
                        raise TimeoutError("the agent is alive but did not answer in time")
                case "ok":
                    return frame
                case "error":
                    raise _refusal(str(frame.header.get("code")), str(frame.header.get("message")))
                case _:
                    raise FrameError("an answer of unknown type")


def _refusal(code: str, message: str) -> TrainingError:
    match code:
        case "stopped" if code == STOPPED:
            return StoppedError(message)
        case "bound-exceeded" if code == BOUND_EXCEEDED:
            return BoundExceededError(message)
        case _:
            return AgentRefusedError(code, message)
