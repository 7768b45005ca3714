"""Runs the application with uvicorn over TLS, until SIGTERM or SIGINT."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from fedgestalt.exchange.server.state import ServerState

_GRACE = 5
"""Seconds that requests under way get at shutdown."""


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
        await super().shutdown(sockets=sockets)


def serve(
    app: FastAPI, *, host: str, port: int, certificate: Path, key: Path, ready: Callable[[int], None]
) -> None:
    """Serve until a signal ends it; ``port`` 0 takes a free one.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=256) as listener:
        ExchangeServer(app, certificate, key, ready).run(sockets=[listener])
