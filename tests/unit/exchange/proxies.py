"""Proxies as hospitals have them: one that passes TLS on, one that opens it with an authority of its own."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

from fedgestalt.exchange.tls import TlsFiles

IDLE = 30.0
MOMENT = 0.05


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
            self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65536):
                sink.sendall(data)

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

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        near = self._near.wrap_socket(client, server_side=True)
        far = self._far.wrap_socket(server, server_hostname=self._host)
        other = {near: far, far: near}
        # One thread for both ways: OpenSSL does not bear a read and a write of one connection at the same time.
        with near, far:
            while True:
                ready = [s for s in other if s.pending()] or select.select([near, far], [], [], IDLE)[0]
                if not ready:
                    return
                for source in ready:
                    source.settimeout(MOMENT)
                    try:
                        data = source.recv(65536)
                    except TimeoutError:
                        continue  # what came was TLS's own, such as a session ticket
                    if not data:
                        return
                    self.seen += data
                    other[source].settimeout(IDLE)
                    other[source].sendall(data)
