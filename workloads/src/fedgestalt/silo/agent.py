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

from fedgestalt.crypto.errors import CryptoError
from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.chain import FileChainState
from fedgestalt.exchange.client import BoardClient, SiloTaskDocument
from fedgestalt.exchange.errors import BoardRewoundError, Code, ExchangeError, RefusedError
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.exchange.view import BoardView
from fedgestalt.secagg.messages import Message
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.discovery import DiscoveryError, refresh
from fedgestalt.silo.grant import GrantFiles
from fedgestalt.silo.interruption import Interruption
from fedgestalt.silo.ledger import GrantLedger
from fedgestalt.silo.lock import SiteBusyError
from fedgestalt.silo.permission import Permission
from fedgestalt.silo.refusal import TaskRefusal
from fedgestalt.silo.releases import ReleaseChecks, keep_checked
from fedgestalt.silo.round import RoundWork
from fedgestalt.silo.sources import ExchangeTasks, FolderTasks, TaskSource
from fedgestalt.silo.vault import EpochVault
from fedgestalt.silo.withdrawal import WithdrawalError, settle
from fedgestalt.silo.workplace import forget_finished, left_open
from fedgestalt_operator.plan.handover import RELEASES

log = logging.getLogger(__name__)

POLL_SECONDS = 20.0
TICK_SECONDS = 0.1
STATUS_SECONDS = 1.0
RETRY_SECONDS = 2.0
ASK_AGAIN_SECONDS = 10.0
SETTLE_SECONDS = 30.0
LETTERS_SECONDS = 600.0


class Agent:
    """Runs until :meth:`stop`; every state that matters is on disk, so it may be killed at any time."""

    def __init__(self, site: SiteConfig) -> None:
        self._site = site
        self._identity = Identity.load(site.identity_file)
        self._source = self._make_source()
        self._vault = EpochVault(site.state / "epochs.sqlite")
        self._permission = Permission(
            GrantFiles(site.grant_file),
            GrantLedger(site.state / "grants.sqlite"),
            hub_key=site.hub_key,
            silo=site.name,
        )
        self._rounds: dict[str, RoundWork] = {}
        self._clients: dict[str, BoardClient] = {}
        self._followed: set[str] = set()
        self._tasks: dict[str, SiloTaskDocument] = {}
        self._refused: dict[str, tuple[TaskRefusal, float]] = {}
        self._reported: dict[str, Mapping[str, Any]] = {}
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._interruption = Interruption()
        self._stopping = self._interruption.stopping
        self.on_signal = self._interruption.on_signal
        """What :func:`signal.signal` is given: it ends :meth:`run`, whatever that waits for."""

    def _make_source(self) -> TaskSource:
        if self._site.handover is not None:
            return FolderTasks(self._site.handover, self._credential())
        return ExchangeTasks(self._connect("tasks-poll"), self._connect("tasks"))

    def _credential(self) -> KeyCredential:
        return KeyCredential(self._identity, Role.SILO, self._site.name, self._site.hub_key)

    def _connect(self, purpose: str) -> BoardClient:
        """A client of its own per thread: connections and chain states are not shared."""
        site = self._site
        return BoardClient(
            site.exchange_url,
            site.ca_file,
            self._credential(),
            name=site.name,
            hub_key=site.hub_key,
            state=FileChainState(site.state / "chain" / purpose),
        )

    def run(self) -> None:
        """Serve tasks until stopped; call it on the main thread, which alone hears signals."""
        threading.Thread(target=self._follow_tasks, name="tasks", daemon=True).start()
        threading.Thread(target=self._settle_withdrawals, name="withdrawals", daemon=True).start()
        threading.Thread(target=self._write_letters, name="letters", daemon=True).start()
        if self._site.handover is not None:
            checks = ReleaseChecks(self._site.releases, self._site.hub_key)
            where = (checks, self._site.handover / RELEASES, self._stopping)
            threading.Thread(target=keep_checked, args=where, name="releases", daemon=True).start()
        self._forget()
        self._interruption.run(self._serve)
        for work in self._rounds.values():
            work.stop()
        self._forget()  # the end may have come between a round's and that of its secrets
        self._vault.close()

    def _forget(self) -> None:
        """Rounds that are over keep no secrets and no uses of grants, whatever came in between."""
        for uid in forget_finished(self._site):
            self._permission.over(uid)

    def _serve(self) -> None:
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
                self._publish()
                next_report = time.monotonic() + STATUS_SECONDS

    def stop(self) -> None:
        """Ask :meth:`run` to return once the work at hand is done; from any thread."""
        self._stopping.set()

    # ------------------------------------------------------------------ what is heard

    def _handle(self, kind: str, item: Any) -> None:
        if kind == "task":
            document: SiloTaskDocument = item
            self._tasks[document.name] = document
            self._open(document.spec["roundUID"]).asked = True
            self._offer(document)
        elif kind == "listed":
            # Rounds that no task names any more were deleted while this agent was away: their boards say how they ended.
            for uid in left_open(self._site):
                if uid not in self._rounds:
                    self._open(uid).asked = False
        elif kind == "entry":
            uid, entry = item
            self._rounds[uid].on_message(entry.seq, Message.decode(entry.message), complete=entry.complete)
        elif kind == "rewound":
            uid, detail = item
            log.error("%s", detail)
            self._rounds[uid].rewound(detail)
            if not self._rounds[uid].finished:
                # Only now: whatever was seen of the board before, nothing of it will be answered any more.
                self._clients[uid].forget(uid)
                FileChainState(self._site.state / "chain" / f"board-{uid[:8]}").forget(uid)
                self._follow(uid)

    def _open(self, uid: str) -> RoundWork:
        if uid not in self._rounds:
            self._clients[uid] = self._connect(uid[:8])
            self._rounds[uid] = RoundWork(
                self._site, self._identity, uid, self._clients[uid], self._vault, self._permission
            )
        if uid not in self._followed and not self._rounds[uid].finished:
            self._followed.add(uid)
            self._follow(uid)
        return self._rounds[uid]

    def _follow(self, uid: str) -> None:
        name = f"board {uid[:8]}"
        threading.Thread(target=self._follow_board, args=(uid,), name=name, daemon=True).start()

    def _offer_tasks(self) -> None:
        for document in list(self._tasks.values()):
            self._offer(document)

    def _offer(self, document: SiloTaskDocument) -> None:
        spec = document.spec
        work = self._rounds[spec["roundUID"]]
        if work.finished or self._still_refused(document.name):
            return
        try:
            work.on_task(spec["kind"], spec["digest"], spec["attempt"])
        except TaskRefusal as refusal:
            log.warning("refused: %s: %s", refusal.reason, refusal)
            self._refused[document.name] = (refusal, time.monotonic())
        else:
            self._refused.pop(document.name, None)

    def _still_refused(self, name: str) -> bool:
        """A refusal stands; but a release that was missing may come, say, while an earlier round is still being followed."""
        if name not in self._refused:
            return False
        refusal, since = self._refused[name]
        return not refusal.may_pass or time.monotonic() - since < ASK_AGAIN_SECONDS

    def _report(self) -> None:
        """Tell the hub where the tasks stand, when something changed."""
        for name, document in self._tasks.items():
            work = self._rounds[document.spec["roundUID"]]
            if work.dormant:
                continue
            if name in self._refused:
                status: Mapping[str, Any] = self._refused[name][0].status()
            else:
                status = work.task_status(document.spec["kind"], document.spec["attempt"])
            if self._reported.get(name) != status:
                try:
                    self._source.report(name, status)
                except RefusedError as error:
                    # This task alone: the hub may have taken it back meanwhile. The others go on.
                    log.warning("task status: %s", error)
                    if error.code is not Code.TASK_UNKNOWN:
                        continue
                except (ExchangeError, OSError) as error:
                    log.warning("task status: %s", error)
                    return
                self._reported[name] = status

    def _publish(self) -> None:
        try:
            self._source.publish(self._permission.projection())
        except OSError as error:
            log.warning("the ledger's projection: %s", error)

    # ------------------------------------------------------------------ threads that wait

    def _settle_withdrawals(self) -> None:
        """Withdrawals that the hub has not acknowledged are said again, until it has."""
        while not self._stopping.wait(SETTLE_SECONDS):
            try:
                settle(self._site)
            except (WithdrawalError, SiteBusyError, CryptoError, OSError) as error:
                log.warning("withdrawals: %s", error)

    def _write_letters(self) -> None:
        """Letters to the other owners of findings, at their time whether something was decided or not."""
        while not self._stopping.wait(LETTERS_SECONDS):
            try:
                refresh(self._site)
            except (DiscoveryError, SiteBusyError) as error:
                log.warning("%s", error)

    def _follow_tasks(self) -> None:
        begun = listed = False
        while not self._stopping.is_set():
            try:
                documents = self._source.wait(POLL_SECONDS)
            except (ExchangeError, OSError) as error:
                log.warning("tasks: %s", error)
                self._stopping.wait(RETRY_SECONDS)
                continue
            for document in documents:
                self._events.put(("task", document))
            if begun and not listed:
                self._events.put(("listed", None))
                listed = True
            # One look later: the operator writes a list's files one after another, and an empty folder is no list.
            begun = begun or bool(documents) or self._site.handover is None

    def _follow_board(self, uid: str) -> None:
        view: BoardView | None = None
        work = self._rounds[uid]
        while not self._stopping.is_set() and not work.finished:  # what comes after the end concerns nobody
            try:
                view = view or BoardView(self._connect(f"board-{uid[:8]}"), uid)
                changed = view.refresh(POLL_SECONDS)
            except BoardRewoundError as error:
                # Never mended by waiting: someone set the board back, perhaps to make this silo repeat itself.
                self._stopping.wait(RETRY_SECONDS)
                self._events.put(("rewound", (uid, str(error))))
                return
            except (ExchangeError, OSError) as error:
                # Where the chain stands is a file, too: the disk may be full.
                log.warning("board: %s", error)
                self._stopping.wait(RETRY_SECONDS)
                continue
            for entry in changed:
                self._events.put(("entry", (uid, entry)))
