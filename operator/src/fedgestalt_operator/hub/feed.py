"""What changed at the exchange, turned into keys of the work queue by one long poll for all rounds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from .ports import HubExchange

log = logging.getLogger(__name__)

POLL: Final = 25.0
RETRY: Final = 2.0


class Feed:
    """A thread's work. `on_round` is called with uids, `on_everything` where nothing finer is known."""

    def __init__(
        self,
        exchange: HubExchange,
        on_round: Callable[[str], None],
        on_everything: Callable[[], None],
        on_reached: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._exchange, self._on_round, self._on_everything = exchange, on_round, on_everything
        self._on_reached = on_reached
        self._stopped = threading.Event()

    def run(self) -> None:
        """Follow the exchange until `stop`."""
        revision, lost = 0, False
        while not self._stopped.is_set():
            try:
                found = self._exchange.changes(revision, POLL)
            except Exception as error:  # whatever it is: without this thread the operator would be half blind
                if not lost:
                    log.warning("the exchange is away: %s: %s", type(error).__name__, error)
                lost = True
                self._on_reached(False)
                self._stopped.wait(RETRY)
                continue
            if lost:
                log.info("the exchange is back")
            self._on_reached(True)
            # What happened while it was away may have been forgotten by an exchange that began anew.
            if found.everything or lost:
                self._on_everything()
            lost = False
            for uid in sorted(found.rounds):
                self._on_round(uid)
            revision = found.revision

    def stop(self) -> None:
        """Let `run` end after the poll at hand."""
        self._stopped.set()
