"""How the client gets through: retries within a deadline, proxies, no retry where none helps."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fedgestalt.exchange.chain import MemoryChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.errors import ExchangeError, UnreachableError
from fedgestalt.exchange.tls import make_tls
from fedgestalt.exchange.tokens import KeyCredential, Role

from .conftest import Federation


def test_a_call_outlasts_a_restart_of_the_exchange(federation: Federation) -> None:
    west = federation.client("west", deadline=20.0)
    west.tasks()
    federation.stop()
    timer = threading.Timer(0.5, federation.start)
    timer.start()
    assert west.tasks() == ([], 0)
    timer.join()


def test_an_exchange_that_stays_away_is_an_error_at_the_deadline(federation: Federation) -> None:
    west = federation.client("west", deadline=1.0)
    federation.stop()
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="HTTPS_PROXY"):
        west.tasks()
    assert time.monotonic() - began < 5


def test_a_silent_peer_cannot_hold_a_call_for_ever(federation: Federation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        federation.stop()
        federation.port = mute.getsockname()[1]
        west = federation.client("west", deadline=1.0)
        began = time.monotonic()
        with pytest.raises(UnreachableError):
            west.tasks()
        assert time.monotonic() - began < 10


def test_plain_http_and_a_missing_authority_are_refused_at_once(
    federation: Federation, tmp_path: Path
) -> None:
    credential = KeyCredential(federation.silos["west"], Role.SILO, "west", federation.hub.public)
    rest = {"name": "west", "hub_key": federation.hub.public, "state": MemoryChainState()}
    with pytest.raises(ExchangeError, match="https"):
        BoardClient("http://127.0.0.1", federation.tls.ca, credential, **rest)  # type: ignore[arg-type]
    with pytest.raises(ExchangeError, match=r"ca\.pem"):
        BoardClient(federation.url, tmp_path / "none.pem", credential, **rest)  # type: ignore[arg-type]


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
                self.asked.append(client.recv(4096).split(b"\r\n")[0].decode())
                server = socket.create_connection(("127.0.0.1", self._target))
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65536):
                sink.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def proxied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Federation, ConnectProxy]]:
    federation = Federation(tmp_path, make_tls(tmp_path / "tls", ["exchange.example", "127.0.0.1"]))
    federation.start()
    proxy = ConnectProxy(federation.port)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    yield federation, proxy
    proxy.close()
    federation.close()


def test_the_environments_proxy_is_used_but_not_for_loopback(
    proxied: tuple[Federation, ConnectProxy],
) -> None:
    federation, proxy = proxied
    assert federation.client("west").tasks() == ([], 0)
    assert proxy.asked == []
    credential = KeyCredential(federation.silos["west"], Role.SILO, "west", federation.hub.public)
    with BoardClient(
        "https://exchange.example",
        federation.tls.ca,
        credential,
        name="west",
        hub_key=federation.hub.public,
        state=MemoryChainState(),
        deadline=10.0,
    ) as west:
        assert west.tasks() == ([], 0)
    assert proxy.asked == ["CONNECT exchange.example:443 HTTP/1.1"]
