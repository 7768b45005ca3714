"""The silo agent's end of the local link: a thread-based server on a Unix socket. No torch here."""

import contextlib
import hashlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from .frames import Frame, FrameError, Limits, Tensor, read_frame, send_frame
from .link import VERSION
from .messages import Aggregated, LinkRefusal, TrainerHandler
from .naming import ordered
from .sockets import listen, peer_is_us

log = logging.getLogger(__name__)

_SEND_TIMEOUT: Final = 120.0

Answer = tuple[Mapping[str, Any], Mapping[str, Tensor]]


class TrainerEndpoint:
    """Serves one `TrainerHandler` at a socket path (mode 0600, directory 0700, same user only).

    A request that is repeated while its first call is still running (a trainer that reconnected) joins that
    call; the same (member, t) with other bytes is refused, for two updates under one mask would be a leak.
    """

    def __init__(
        self, path: Path, handler: TrainerHandler, heartbeat: float = 5.0, limits: Limits | None = None
    ) -> None:
        """`heartbeat`: seconds between signs of life while a handler works."""
        self._path = path
        self._handler = handler
        self._heartbeat = heartbeat
        self._limits = limits or Limits()
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._aggregations: dict[str, tuple[int, bytes, Future[Answer]]] = {}

    def start(self) -> None:
        """Listen and serve in daemon threads. Raises what `sockets.listen` raises."""
        self._listener = listen(self._path)
        threading.Thread(
            target=self._accept, args=(self._listener,), name="trainer-link", daemon=True
        ).start()

    def close(self) -> None:
        """Stop serving and remove the socket. Handler calls in progress are left to end by themselves."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        _shut(listener)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _shut(connection)
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(connection,), name="trainer-link", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            if self._listener is None:
                connection.close()
                return
            self._connections.add(connection)
        try:
            if not peer_is_us(connection):
                log.warning("refused a connection to %s from another user", self._path)
                return
            while True:
                connection.settimeout(None)  # between requests a trainer may compute for hours
                frame = read_frame(connection, self._limits)
                connection.settimeout(_SEND_TIMEOUT)
                self._answer(connection, frame)
        except FrameError as error:
            log.debug("trainer link: %s", error)
        except OSError as error:
            log.debug("trainer link lost: %s", type(error).__name__)
        finally:
            with self._lock:
                self._connections.discard(connection)
            _shut(connection)

    def _answer(self, connection: socket.socket, frame: Frame) -> None:
        future = self._begin(frame)
        header: Mapping[str, Any]
        tensors: Mapping[str, Tensor] = {}
        while not wait([future], timeout=self._heartbeat).done:
            send_frame(connection, {"type": "wait"}, {})
        try:
            header, tensors = future.result()
        except LinkRefusal as refusal:
            header = _error(refusal.code, refusal.message)
        except Exception as error:
            log.exception("the handler of %r failed", frame.header.get("op"))
            header = _error("internal", f"the agent failed with {type(error).__name__}")
        send_frame(connection, header, tensors)

    def _begin(self, frame: Frame) -> "Future[Answer]":
        """Start the handler's call in a thread, or join the call that a repeated request began."""
        try:
            call = _route(self._handler, frame)
        except LinkRefusal as refusal:
            failed: Future[Answer] = Future()
            failed.set_exception(refusal)
            return failed
        if frame.header["op"] != "aggregate":
            return _run(call)
        member, t = frame.header["member"], frame.header["t"]
        digest = _digest(frame.tensors)
        with self._lock:
            known = self._aggregations.get(member)
            if known is not None and known[0] == t and not (known[2].done() and known[2].exception()):
                if known[1] == digest:
                    return known[2]
                failed = Future()
                failed.set_exception(
                    LinkRefusal("conflict", f"{member} t={t}: another update was handed over already")
                )
                return failed
            future = _run(call)
            self._aggregations[member] = (t, digest, future)
            return future


def _route(handler: TrainerHandler, frame: Frame) -> Callable[[], Answer]:
    """The handler's method for a request, with its arguments checked."""
    header = frame.header
    if header.get("v") != VERSION:
        raise LinkRefusal("version", f"the agent speaks version {VERSION} of the trainer link")
    match header:
        case {"op": "resume"}:
            return lambda: _resumed(handler)
        case {"op": "initial", "member": str() as member}:
            tensors = _typed(frame, np.float32)
            return lambda: _done(lambda: handler.initial(member, tensors))
        case {"op": "aggregate", "member": str() as member, "t": int() as t} if t >= 1:
            delta = _typed(frame, np.float64)
            return lambda: _aggregated(handler.aggregate(member, t, delta))
        case {"op": "rows", "rows": list() as rows} if all(isinstance(row, dict) for row in rows):
            embeddings = _typed(frame, np.float64).get("embeddings")
            if embeddings is None or embeddings.ndim != 2 or len(embeddings) != len(rows):
                raise LinkRefusal("bad-request", "rows need embeddings [N, D] and N maps of metadata")
            return lambda: _done(lambda: handler.rows(embeddings, rows))
        case {
            "op": "progress",
            "member": str() as member,
            "t": int() as t,
            "fraction": float() as part,
            "message": str() as text,
        }:
            return lambda: _done(lambda: handler.progress(member, t, part, text))
        case _:
            raise LinkRefusal("bad-request", "unknown request or missing fields")


def _typed(frame: Frame, dtype: type[np.floating[Any]]) -> dict[str, Any]:
    if any(tensor.dtype != dtype for tensor in frame.tensors.values()):
        raise LinkRefusal("bad-request", f"{frame.header['op']} takes {dtype.__name__} tensors only")
    return dict(frame.tensors)


def _resumed(handler: TrainerHandler) -> Answer:
    states = handler.resume()
    tensors: dict[str, Tensor] = {}
    for member in ordered(states):
        for name in ordered(states[member].tensors):
            tensors[f"{member}/{name}"] = states[member].tensors[name]
    return {"type": "ok", "members": {member: state.t for member, state in states.items()}}, tensors


def _aggregated(result: Aggregated) -> Answer:
    tensors: dict[str, Tensor] = {name: result.tensors[name] for name in ordered(result.tensors)}
    return {"type": "ok", "t": result.t, "skipped": result.skipped}, tensors


def _done(call: Callable[[], None]) -> Answer:
    call()
    return {"type": "ok"}, {}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "code": code, "message": message}


def _digest(tensors: Mapping[str, Tensor]) -> bytes:
    state = hashlib.sha256()
    for name, tensor in tensors.items():
        state.update(f"{name}:{tensor.shape};".encode())
        state.update(np.ascontiguousarray(tensor).data)
    return state.digest()


def _run(call: Callable[[], Answer]) -> "Future[Answer]":
    """Run `call` in a daemon thread, so that a blocked handler never keeps the process alive."""
    future: Future[Answer] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="trainer-call", daemon=True).start()
    return future


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
