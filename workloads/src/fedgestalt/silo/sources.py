"""Where an agent's tasks come from, and where it says how they stand.

On one machine that is the exchange. In a cluster the operator's site role speaks with the exchange and the API server, and
shares a folder with the agent, which has no access to either API (:mod:`fedgestalt_operator.plan.handover`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from fedgestalt import __version__
from fedgestalt.exchange.client import BoardClient, SiloTaskDocument
from fedgestalt.exchange.tokens import Credential
from fedgestalt.files import write_atomic
from fedgestalt_operator.plan.handover import LEDGER, STATUS, TASKS, TOKEN

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
BEAT_SECONDS: Final = 20.0
MAX_BYTES: Final = 64 * 1024
SHARED_MODE: Final = 0o640
"""The two containers of the pod share a group, not a user."""


class TaskSource(Protocol):
    """Tasks in, their status out. One thread waits, another one reports."""

    def wait(self, seconds: float) -> list[SiloTaskDocument]:
        """Tasks that are new or changed since the last call; waits up to some seconds for the first.

        Raises:
            ExchangeError, OSError: nothing is known; ask again.
        """
        ...

    def report(self, name: str, status: Mapping[str, Any]) -> None:
        """Say how a task stands. Raises as :meth:`wait`."""
        ...

    def publish(self, ledger: Mapping[str, Any]) -> None:
        """Show what the ledger says, and keep what others need of this agent fresh. Raises OSError."""
        ...


class ExchangeTasks:
    """Tasks from the exchange itself, by a long poll.

    There is no operator here to send heartbeats. Any request says that the silo is there; only a heartbeat says which
    version it runs, and an exchange forgets that when it is restarted.
    """

    def __init__(
        self, waiting: BoardClient, saying: BoardClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """A client for each of the two threads. ``clock``: seconds that only go forward."""
        self._waiting, self._saying, self._clock = waiting, saying, clock
        self._revision, self._known = 0, dict[str, int]()
        self._next_beat = float("-inf")

    def wait(self, seconds: float) -> list[SiloTaskDocument]:
        """See :class:`TaskSource`."""
        moment = self._clock()
        if moment >= self._next_beat:
            self._waiting.heartbeat(__version__)
            self._next_beat = moment + BEAT_SECONDS
        listed, self._revision = self._waiting.tasks(seconds, after=self._revision)
        fresh = [task for task in listed if self._known.get(task.name) != task.revision]
        self._known.update((task.name, task.revision) for task in fresh)
        return fresh

    def report(self, name: str, status: Mapping[str, Any]) -> None:
        """See :class:`TaskSource`."""
        self._saying.put_task_status(name, status)

    def publish(self, ledger: Mapping[str, Any]) -> None:
        """Nobody on this machine asks."""


class FolderTasks:
    """Tasks from the folder that the pod's containers share."""

    def __init__(self, folder: Path, credential: Credential) -> None:
        """``credential`` makes the tokens with which the operator's link may speak for this silo."""
        self._folder, self._credential = folder, credential
        self._known: dict[str, bytes] = {}
        self._written: dict[Path, bytes] = {}
        self._lock = threading.Lock()

    def wait(self, seconds: float) -> list[SiloTaskDocument]:
        """See :class:`TaskSource`."""
        until = time.monotonic() + seconds
        while True:
            fresh = self._look()
            left = until - time.monotonic()
            if fresh or left <= 0:
                return fresh
            time.sleep(min(LOOK_SECONDS, left))

    def report(self, name: str, status: Mapping[str, Any]) -> None:
        """See :class:`TaskSource`."""
        self._write(self._folder / STATUS / f"{name}.json", _json(status))

    def publish(self, ledger: Mapping[str, Any]) -> None:
        """See :class:`TaskSource`."""
        self._write(self._folder / LEDGER, _json(ledger))
        self._write(self._folder / TOKEN, self._credential.token().encode())

    def _look(self) -> list[SiloTaskDocument]:
        fresh = []
        for path in sorted((self._folder / TASKS).glob("*.json")):
            if path.name.startswith("."):
                continue
            try:
                with path.open("rb") as file:
                    data = file.read(MAX_BYTES + 1)
            except FileNotFoundError:
                continue  # taken back in between
            if self._known.get(path.name) == data:
                continue
            self._known[path.name] = data
            try:
                fresh.append(_parse(path.stem, data))
            except (ValueError, KeyError, TypeError) as error:
                log.error("%s: no task (%s); the operator writes such files", path, error)
        return fresh

    def _write(self, path: Path, data: bytes) -> None:
        with self._lock:
            if self._written.get(path) != data or not path.exists():
                write_atomic(path, data, mode=SHARED_MODE)
                self._written[path] = data


def _parse(name: str, data: bytes) -> SiloTaskDocument:
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    content = json.loads(data)
    spec = content["spec"]
    if content["name"] != name:
        raise ValueError(f"names another task, {content['name']!r}")
    if not isinstance(spec["roundUID"], str) or not isinstance(spec["digest"], str):
        raise ValueError("roundUID and digest must be text")
    kept = {"kind": str(spec["kind"]), "attempt": int(spec["attempt"])}
    return SiloTaskDocument(name, {**spec, **kept}, {}, 1)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(content), sort_keys=True).encode()
