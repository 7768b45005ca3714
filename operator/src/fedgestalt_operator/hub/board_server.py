"""Serves boards for `kubectl fedgestalt replay`, over TLS, to whoever Kubernetes lets through the service's proxy.

The chart lets nobody but the API server reach this port, so that RBAC on services/proxy decides who may look. What an
export withholds (shares, seeds, sealed keys) is not in the answers: see `plan.board_file`.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from fedgestalt.exchange.tls import make_tls

log = logging.getLogger(__name__)

_PATH: Final = re.compile(r"/v1/rounds/([0-9a-f-]{8,64})/board")
_PATIENCE: Final = 10.0
Export = Callable[[str], "dict[str, Any] | None"]


class BoardServer:
    """Serves in a thread of its own for as long as its context lasts."""

    def __init__(self, export: Export, *, host: str, port: int, folder: Path) -> None:
        """
        Args:
            export: the export of a round's board by its uid; None for a round that the operator does not know.
            folder: where the certificate is kept; the API server's proxy does not verify it.

        Raises:
            OSError: the address cannot be bound.
        """
        files = make_tls(folder, ["fedgestalt-hub"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self._server = _Server((host, port), export)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="boards", daemon=True
        )

    def __enter__(self) -> BoardServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(_PATIENCE)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], export: Export) -> None:
        self.export = export
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or spoke no TLS, is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fedgestalt-operator", ""

    def do_GET(self) -> None:
        """Answer with a board, or say why not."""
        found = _PATH.fullmatch(self.path)
        if found is None:
            self._answer(HTTPStatus.NOT_FOUND, {"error": "here are /v1/rounds/<uid>/board only"})
            return
        try:
            board = self.server.export(found[1])
        except Exception as error:
            log.warning("board of %s: %s: %s", found[1][:8], type(error).__name__, error)
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the exchange does not answer; try again"})
            return
        if board is None:
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"no round of uid {found[1]}"})
        else:
            self._answer(HTTPStatus.OK, board)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who looked stands in the API server's audit log."""

    def _answer(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)
