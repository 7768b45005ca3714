"""A small HTTP server for the kubelet and Prometheus: /livez, /readyz, /metrics. It never keeps the process alive."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from .health import Health
from .metrics import Metrics

_TEXT: Final = "text/plain; charset=utf-8"
_PATIENCE: Final = 5.0
"""Seconds for a client to send its request: a silent one must not hold a thread."""


class ProbeError(RuntimeError):
    """The probes' address cannot be served; the message says how to mend it."""


class ProbeServer:
    """Serves the probes in a thread of its own from `start` to `close`; a context manager does both."""

    def __init__(self, health: Health, metrics: Metrics, *, host: str = "", port: int = 8080) -> None:
        self._health, self._metrics, self._host, self._port = health, metrics, host, port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The bound port: the one asked for, or the one found for port 0."""
        return self._server.server_port if self._server is not None else self._port

    def start(self) -> None:
        """Bind and serve.

        Raises:
            ProbeError: the address cannot be bound.
        """
        try:
            server = _Server(self._host, self._port, self._health, self._metrics)
        except OSError as error:
            where = f"{self._host or '*'}:{self._port}"
            raise ProbeError(
                f"probes cannot be served on {where}: {error.strerror or error}; choose another --probe-port"
            ) from None
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="probes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and free the port. Calling it again does nothing."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join(_PATIENCE)
            self._server.server_close()
            self._server, self._thread = None, None

    def __enter__(self) -> ProbeServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, health: Health, metrics: Metrics) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.health, self.metrics = health, metrics
        super().__init__((host, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news, and a traceback on stderr would break the JSON log."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE
    server_version = "fedgestalt-operator"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = _TEXT
    paths: ClassVar = ("/livez", "/readyz", "/metrics")

    def do_GET(self) -> None:
        """Answer a probe: 200, or 503 with one reason a line."""
        match urlsplit(self.path).path:
            case "/livez":
                self._judge(self.server.health.sick())
            case "/readyz":
                self._judge(self.server.health.unready())
            case "/metrics":
                body, content_type = self.server.metrics.render(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, body, content_type)
            case _:
                text = f"not here; there are {', '.join(self.paths)}\n"
                self._answer(HTTPStatus.NOT_FOUND, text.encode(), _TEXT)

    do_HEAD = do_GET  # noqa: N815  # http.server's own name

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a probe every few seconds is no news."""

    def _judge(self, faults: list[str]) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if faults else HTTPStatus.OK
        self._answer(status, ("\n".join(faults or ["ok"]) + "\n").encode(), _TEXT)

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
