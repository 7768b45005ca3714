"""The silo's agent: one process that holds the silo's keys and takes part in federation rounds.

Threads only wait: one for tasks, one for the board of each round at work, one per request of the trainer. What they hear
goes through one queue to the main thread, which starts processes (the kernel ties a child to the thread that made it)
and drives the rounds.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.client import BoardClient, Entry
from fedgestalt.exchange.errors import ExchangeError
from fedgestalt.secagg.messages import Message
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.round import GrantRefusal, RoundWork

log = logging.getLogger(__name__)

POLL_SECONDS = 20.0
TICK_SECONDS = 0.1
STATUS_SECONDS = 1.0
RETRY_SECONDS = 2.0


class Agent:
    """Runs until :meth:`stop`; every state that matters is on disk, so it may be killed at any time."""

    def __init__(self, site: SiteConfig) -> None:
        self._site = site
        self._identity = Identity.load(site.identity_file)
        self._client = self._connect("tasks")
        self._rounds: dict[str, RoundWork] = {}
        self._tasks: dict[str, Mapping[str, Any]] = {}
        self._reported: dict[str, Mapping[str, Any]] = {}
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._stopping = threading.Event()

    def _connect(self, purpose: str) -> BoardClient:
        """A client of its own per thread: connections and chain states are not shared."""
        return BoardClient.for_silo(
            self._site.exchange_url,
            ca_file=self._site.ca_file,
            name=self._site.name,
            identity=self._identity,
            hub_key=self._site.hub_key,
            state=self._site.state / f"chain-{purpose}.json",
        )

    def run(self) -> None:
        """Serve tasks until stopped."""
        threading.Thread(target=self._follow_tasks, name="tasks", daemon=True).start()
        next_report = 0.0
        while not self._stopping.is_set():
            try:
                kind, item = self._events.get(timeout=TICK_SECONDS)
            except queue.Empty:
                pass
            else:
                self._handle(kind, item)
            for work in list(self._rounds.values()):
                work.poll()
            if time.monotonic() >= next_report:
                self._offer_tasks()
                self._report()
                next_report = time.monotonic() + STATUS_SECONDS
        for work in self._rounds.values():
            work.stop()

    def stop(self) -> None:
        """Ask :meth:`run` to return."""
        self._stopping.set()

    # ------------------------------------------------------------------ what is heard

    def _handle(self, kind: str, item: Any) -> None:
        if kind == "task":
            document: Mapping[str, Any] = item
            self._tasks[document["metadata"]["name"]] = document
            uid = document["spec"]["roundUID"]
            if uid not in self._rounds:
                self._rounds[uid] = RoundWork(self._site, self._identity, uid, self._connect(uid[:8]))
                threading.Thread(
                    target=self._follow_board, args=(uid,), name=f"board {uid[:8]}", daemon=True
                ).start()
            self._offer(document)
        elif kind == "entry":
            uid, entry = item
            self._rounds[uid].on_message(Message.decode(entry.message), complete=entry.complete)

    def _offer_tasks(self) -> None:
        for document in list(self._tasks.values()):
            self._offer(document)

    def _offer(self, document: Mapping[str, Any]) -> None:
        spec = document["spec"]
        work = self._rounds[spec["roundUID"]]
        if work.finished or document["metadata"]["name"] in self._refused:
            return
        try:
            work.on_task(spec["kind"], spec["digest"], spec["attempt"])
        except GrantRefusal as refusal:
            log.warning("refused: %s", refusal)
            self._refused[document["metadata"]["name"]] = str(refusal)

    @property
    def _refused(self) -> dict[str, str]:
        return self.__dict__.setdefault("_refusals", {})  # type: ignore[no-any-return]

    def _report(self) -> None:
        """Tell the hub where the tasks stand, when something changed."""
        for name, document in self._tasks.items():
            work = self._rounds[document["spec"]["roundUID"]]
            if name in self._refused:
                status: Mapping[str, Any] = {
                    "phase": "Failed",
                    "reason": "GrantMismatch",
                    "message": self._refused[name],
                }
            else:
                status = work.task_status(document["spec"]["kind"])
            if self._reported.get(name) != status:
                try:
                    self._client.put_task_status(name, status)
                except ExchangeError as error:
                    log.warning("task status: %s", error)
                    return
                self._reported[name] = status

    # ------------------------------------------------------------------ threads that wait

    def _follow_tasks(self) -> None:
        client = self._connect("tasks-poll")
        while not self._stopping.is_set():
            try:
                for document in client.tasks(wait=POLL_SECONDS):
                    self._events.put(("task", document))
            except ExchangeError as error:
                log.warning("tasks: %s", error)
                self._stopping.wait(RETRY_SECONDS)

    def _follow_board(self, uid: str) -> None:
        client = self._connect(f"board-{uid[:8]}")
        after = 0
        while not self._stopping.is_set():
            try:
                entries: list[Entry] = client.entries(uid, after, wait=POLL_SECONDS)
            except ExchangeError as error:
                log.warning("board: %s", error)
                self._stopping.wait(RETRY_SECONDS)
                continue
            for entry in entries:
                self._events.put(("entry", (uid, entry)))
                after = entry.seq
