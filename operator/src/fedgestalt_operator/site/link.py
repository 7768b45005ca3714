"""The link between a site's cluster and its hub's exchange: tasks and releases down, status and heartbeats up.

It dials out and needs no API of the hub. Nothing is remembered that does not lie in the cluster or on the exchange, so a
restart loses nothing; with the hub gone, what is in the cluster goes on, and what became of it is told later.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from fedgestalt.exchange.errors import ExchangeError

from ..api import release, task
from ..api.reasons import LinkReason
from ..api.task import TaskPhase
from ..kube.errors import AlreadyExists, ClusterError, Conflict, Forbidden, Gone, NotFound
from ..kube.port import Cluster, Document
from .exchange import SiteExchange, reason_of
from .mirror import hub_label, mirror_releases, mirror_tasks, reports
from .state import LinkState

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 20.0
BEAT_SECONDS: Final = 20.0
WATCH_SECONDS: Final = 5.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
MAX_MESSAGE: Final = 1024
CREATION_REFUSED: Final = "CreationRefused"
NOT_LET_IN: Final = (
    "is not let in by the site's API server (rights, quota or admission webhook; mend it there)"
)


class Way(StrEnum):
    """The link's ways, each of which can fail by itself."""

    TASKS = "tasks"
    RELEASES = "releases"
    UP = "up"


class _Unfinished(Exception):  # noqa: N818
    """A pass did what it could; the site's API server refused the rest, which is told, and tried again after a pause."""


def _nobody(state: LinkState) -> None:
    """Nobody listens."""


class Link:
    """One site's link to one hub. `run` blocks until `stop`; the passes `tasks`, `releases` and `up` are its steps."""

    def __init__(
        self,
        cluster: Cluster,
        exchange: SiteExchange,
        *,
        namespace: str,
        silo: str,
        hub: str,
        version: str = "",
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        on_state: Callable[[LinkState], None] = _nobody,
        on_answer: Callable[[bool], None] = lambda _: None,
        on_release: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            hub: fingerprint of the hub's signing key, 64 hexadecimal digits.
            version: of the site's software, told with each heartbeat.
            now: Unix time by the site's clock.
            clock: seconds that only go forward, however the site's clock is set.
            on_state: told of each change of the link's state.
            on_answer: told after each pass whether the exchange answered.
            on_release: told that a Release came: nobody watches them.
        """
        self._cluster, self._exchange, self._namespace = cluster, exchange, namespace
        self._silo, self._hub, self._version = silo, hub, version
        self._now, self._clock = now, clock
        self._on_state, self._on_answer, self._on_release = on_state, on_answer, on_release
        self._known: dict[str, Mapping[str, Any]] = {}
        self._revisions = {Way.TASKS: 0, Way.RELEASES: 0}
        self._failing: dict[Way, tuple[LinkReason, str]] = {}
        self._complained: set[tuple[str, str]] = set()
        self._state = LinkState(LinkReason.LINK_LOST, now(), "the exchange was not asked yet")
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._next_beat = clock()

    @property
    def state(self) -> LinkState:
        """How the link stands."""
        return self._state

    def run(self) -> None:
        """Serve until `stop`. Errors of exchange and cluster end a pass, never the loop."""
        ways = [(Way.TASKS, self.tasks), (Way.RELEASES, self.releases)]
        threads = [
            threading.Thread(target=self._serve, args=(way, step), name=f"link {way}", daemon=True)
            for way, step in ways
        ]
        for thread in threads:
            thread.start()
        self._serve(Way.UP, self._up_and_watch)
        for thread in threads:
            thread.join(POLL_SECONDS)

    def stop(self) -> None:
        """Ask `run` to return; a poll under way is waited for, but no longer than it lasts."""
        self._stopping.set()

    # ------------------------------------------------------------------ the passes

    def tasks(self, wait: float = POLL_SECONDS) -> None:
        """Local SiloTasks as the hub wants them; waits up to `wait` seconds for news."""
        given, revision = self._exchange.tasks(self._revisions[Way.TASKS], wait)
        with self._lock:
            self._known = {one.name: dict(one.status) for one in given}
        local = self._local(task.KIND)
        todo = mirror_tasks(given, local, namespace=self._namespace, silo=self._silo, hub=self._hub)
        tried = {document["metadata"]["name"]: self._create(document) for document in todo.create}
        refused = {name: error for name, error in tried.items() if error is not None}
        stay = [name for name, uid in todo.delete if not self._delete(name, uid)]
        for name, error in refused.items():
            self._tell_refused(name, error)
        if refused or stay:
            raise _Unfinished
        # Only now: a pass that the cluster's absence cut short is gone through again at once.
        self._revisions[Way.TASKS] = revision

    def releases(self, wait: float = POLL_SECONDS) -> None:
        """The hub's releases in the site's cluster; waits up to `wait` seconds for news."""
        given, revision = self._exchange.releases(self._revisions[Way.RELEASES], wait)
        local = self._local(release.KIND)
        fresh = mirror_releases(given, local, namespace=self._namespace, hub=self._hub)
        refused = [document for document in fresh if self._create(document) is not None]
        if len(refused) < len(fresh):
            self._on_release()
        if refused:
            raise _Unfinished
        self._revisions[Way.RELEASES] = revision

    def up(self, local: list[Document] | None = None) -> None:
        """Tell the exchange what it has otherwise of local SiloTasks, and every 20 seconds that this site is there."""
        if self._clock() >= self._next_beat:
            self._exchange.heartbeat(self._version)
            self._next_beat = self._clock() + BEAT_SECONDS
        with self._lock:
            known = dict(self._known)
        for name, status in reports(self._local(task.KIND) if local is None else local, known):
            standing = self._exchange.put_task_status(name, status)
            with self._lock:
                if standing and name in self._known:
                    self._known[name] = status
                else:
                    self._known.pop(name, None)  # taken back; the next listing says so

    def _up_and_watch(self) -> None:
        local, version = self._cluster.list(task.KIND, self._namespace, hub_label(self._hub))
        self.up(local)
        with contextlib.suppress(Gone):
            for _ in self._cluster.watch(task.KIND, self._namespace, version, WATCH_SECONDS):
                break

    # ------------------------------------------------------------------ how it goes on

    def step(self, way: Way, once: Callable[[], None]) -> bool:
        """One pass, and what it says of the link's state. False: try again after a pause."""
        whole = True
        try:
            once()
        except _Unfinished:
            whole = False
        except (ExchangeError, OSError) as error:
            self._tell(way, (reason_of(error), str(error)))
            self._on_answer(False)
            return False
        except ClusterError as error:
            log.warning("link %s: the site's API server: %s", way, error)
            return False
        except Exception as error:
            # A thread that ends here would leave this way dead for good, and nobody would know.
            if not self._stopping.is_set():
                log.exception("link %s", way)
                self._tell(way, (LinkReason.REFUSED, f"{type(error).__name__}; the log has more"))
            return False
        self._tell(way, None)
        self._on_answer(True)
        return whole

    def _serve(self, way: Way, once: Callable[[], None]) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            if self.step(way, once):
                pause = FIRST_PAUSE
                continue
            self._stopping.wait(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _tell(self, way: Way, failure: tuple[LinkReason, str] | None) -> None:
        with self._lock:
            if failure is None:
                self._failing.pop(way, None)
            else:
                self._failing[way] = failure
            # The way that failed first speaks; the others mostly say the same.
            reason, message = next(iter(self._failing.values()), (LinkReason.CONNECTED, ""))
            if reason is self._state.reason:
                return
            self._state = state = LinkState(reason, self._now(), message)
        log.log(
            logging.INFO if reason is LinkReason.CONNECTED else logging.WARNING,
            "link: %s%s",
            reason,
            f": {message}" if message else "",
        )
        self._on_state(state)

    def _local(self, kind: str) -> list[Document]:
        return self._cluster.list(kind, self._namespace, hub_label(self._hub))[0]

    def _create(self, document: Document) -> Forbidden | None:
        """Create what came from the hub; the error if the API server does not let it in now.

        Only that passes when somebody mends it here, and one object's must not keep the others back.
        """
        kind, name = document["kind"], document["metadata"]["name"]
        try:
            self._cluster.create(document)
        except AlreadyExists:
            self._complain(kind, name, "is here already, and not from this hub; rename it or delete it")
        except ValueError as error:
            self._complain(kind, name, f"of the hub is not used: {error}")
        except Forbidden as error:
            self._complain(kind, name, f"of the hub {NOT_LET_IN}: {error}")
            return error
        else:
            self._complained.discard((kind, name))
            log.info("%s %s came from the hub", kind, name)
        return None

    def _delete(self, name: str, uid: str) -> bool:
        """Delete a task that the hub took back; False if the API server does not let us."""
        try:
            self._cluster.delete(task.KIND, self._namespace, name, uid)
        except (NotFound, Conflict):
            pass
        except Forbidden as error:
            self._complain(task.KIND, name, f"was taken back by the hub and cannot be deleted: {error}")
            return False
        self._complained.discard((task.KIND, name))
        log.info("the hub took back the task %s", name)
        return True

    def _tell_refused(self, name: str, error: Forbidden) -> None:
        """Let the hub see at the task why nobody works on it here: no SiloTask of the site can say so."""
        status = {
            "phase": TaskPhase.PENDING.value,
            "reason": CREATION_REFUSED,
            "message": f"{NOT_LET_IN}: {error}"[:MAX_MESSAGE],
        }
        with self._lock:
            told = self._known.get(name) == status
        if not told:
            self._exchange.put_task_status(name, status)

    def _complain(self, kind: str, name: str, what: str) -> None:
        if (kind, name) not in self._complained:
            self._complained.add((kind, name))
            log.warning("%s %s %s", kind, name, what)
