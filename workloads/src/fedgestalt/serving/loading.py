"""Loading while the probes answer already: a release takes seconds to verify, load and warm up."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

from anyio import to_thread

from fedgestalt.serving.analyses import Analyses
from fedgestalt.serving.problems import Code, Problem
from fedgestalt.serving.release import ReleaseError

_log = logging.getLogger(__name__)


class Loading:
    """What is served, once it is there."""

    def __init__(self, load: Callable[[], Analyses]) -> None:
        """``load`` verifies and loads the release; it may raise `ReleaseError`."""
        self._load = load
        self._analyses: Analyses | None = None
        self.failure: str | None = None

    async def run(self, ended: Callable[[], None]) -> None:
        """Load and warm up in a thread, then call ``ended``; readiness or `failure` says how it went."""
        try:
            self._analyses = await to_thread.run_sync(self._prepare)
        except ReleaseError as error:
            self.failure = str(error)
        except Exception as error:
            self.failure = f"the release could not be loaded ({type(error).__name__})"
            # The places without the message, which may quote a label of the gallery.
            _log.error("%s\n%s", self.failure, "".join(traceback.format_tb(error.__traceback__)))
        ended()

    @property
    def analyses(self) -> Analyses:
        """The service.

        Raises:
            Problem: NotReady.
        """
        if self._analyses is None:
            if self.failure is not None:
                raise Problem(Code.NOT_READY, "the release cannot be served; the service's log says why")
            raise Problem(Code.NOT_READY, "the release is being verified and loaded", retry_after=5)
        return self._analyses

    def _prepare(self) -> Analyses:
        analyses = self._load()
        analyses.warm_up()
        return analyses
