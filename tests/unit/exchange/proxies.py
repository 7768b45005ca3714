"""Proxies as hospitals have them: one that passes TLS on, one that opens it with an authority of its own."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

from fedgestalt.exchange.tls import TlsFiles


class ConnectProxy:
    """An HTTP proxy (RFC 9110, section 9.3.6) that takes every name to one port of this machine."""

    def __init__(self, target: int) -> None:
        self.asked: list[str] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            self.asked.append(client.recv(4096).split(b"\r\n")[0].decode())
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            near, far = self._between(client, server)
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
            self._pump(far, near)

    def _between(self, client: socket.socket, server: socket.socket) -> tuple[socket.socket, socket.socket]:
        return client, server

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65536):
                self._see(data)
                sink.sendall(data)

    def _see(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        self._listener.close()


class OpeningProxy(ConnectProxy):
    """One that shows clients a certificate of its own authority and reads what passes."""

    def __init__(self, target: int, own: TlsFiles, exchange_ca: Path, host: str) -> None:
        self._near = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._near.load_cert_chain(own.certificate, own.key)
        self._far = ssl.create_default_context(cafile=str(exchange_ca))
        self._host = host
        self.seen = b""
        super().__init__(target)

    def _between(self, client: socket.socket, server: socket.socket) -> tuple[socket.socket, socket.socket]:
        opened = self._near.wrap_socket(client, server_side=True)
        return opened, self._far.wrap_socket(server, server_hostname=self._host)

    def _see(self, data: bytes) -> None:
        self.seen += data
