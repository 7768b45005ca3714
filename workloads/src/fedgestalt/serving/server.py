"""Runs the application with uvicorn until SIGTERM or SIGINT, or until the release turns out not to be servable."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Collection, Iterator

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from fedgestalt.exchange.server.serve import listen
from fedgestalt.serving.analyses import Analyses
from fedgestalt.serving.app import create_app
from fedgestalt.serving.release import ReleaseError

_GRACE = 30
"""Seconds that analyses under way get at shutdown."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at SIGTERM and SIGINT without raising the signal again: the exit code is the caller's."""
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    load: Callable[[], Analyses],
    *,
    host: str,
    port: int,
    hosts: Collection[str],
    ready: Callable[[int], None],
) -> None:
    """Listen at once, load, call ``ready`` with the port, and serve until a signal ends it.

    Args:
        load: see `create_app`.
        port: 0 takes a free one.
        hosts: names that the service is called by; empty: any.

    Raises:
        OSError: the address cannot be bound.
        ReleaseError: loading failed.
    """
    failures: list[str] = []

    def loaded(failure: str | None) -> None:
        if failure is None:
            ready(listener.getsockname()[1])
        else:
            failures.append(failure)
            server.should_exit = True

    app = create_app(load, hosts=hosts, loaded=loaded)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        h11_max_incomplete_event_size=16 * 1024,
    )
    server = _Server(config)
    with listen(host, port) as listener:
        server.run(sockets=[listener])
    if failures:
        raise ReleaseError(failures[0])
