"""Runs the application with uvicorn over TLS, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.server import HANDLED_SIGNALS

from fedgestalt.exchange.server.state import ServerState

_GRACE = 5
"""Seconds that requests under way get at shutdown."""
_PAUSE = 0.3


class ExchangeServer(uvicorn.Server):
    """A uvicorn server that wakes its long polls before it waits for them to end."""

    def __init__(self, app: FastAPI, certificate: Path, key: Path, ready: Callable[[int], None]) -> None:
        """``ready`` is called with the port once connections are accepted."""
        config = uvicorn.Config(
            app,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=75,  # longer than a poll and the pause of a proxy between two
            timeout_graceful_shutdown=_GRACE,
            h11_max_incomplete_event_size=16 * 1024,
        )
        super().__init__(config)
        self._app, self._ready = app, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then report the port."""
        await super().startup(sockets=sockets)
        if sockets and not self.should_exit:
            self._ready(sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let waiters answer with what there is, then end as uvicorn does."""
        state: ServerState = self._app.state.shared
        state.waiting.close()
        aborting = asyncio.create_task(self._abort_lingering())
        try:
            await super().shutdown(sockets=sockets)
        finally:
            aborting.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at SIGTERM and SIGINT, but do not raise the signal again: there is a database to close."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _abort_lingering(self) -> None:
        # An idle client does not answer the closing of TLS, and asyncio would wait 30 s for it. What was
        # written to a connection has had a pause's time to leave before it is cut.
        closing: set[object] = set()
        while True:
            await asyncio.sleep(_PAUSE)
            for connection in list(self.server_state.connections):
                transport = getattr(connection, "transport", None)
                if transport is None or not transport.is_closing():
                    continue
                if connection in closing:
                    transport.abort()
                closing.add(connection)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; ``port`` 0 takes a free one.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named, which socket.create_server does
    # not do. Left on, each answer waits 40 ms for the delayed acknowledgement of its own header.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)
    except BaseException:
        listener.close()
        raise
    return listener


def serve(
    app: FastAPI, *, host: str, port: int, certificate: Path, key: Path, ready: Callable[[int], None]
) -> None:
    """Serve until a signal ends it; ``port`` 0 takes a free one.

    Raises:
        OSError: the address cannot be bound.
    """
    with listen(host, port) as listener:
        ExchangeServer(app, certificate, key, ready).run(sockets=[listener])
