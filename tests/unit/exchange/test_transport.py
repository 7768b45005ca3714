"""How the client gets through: retries within a deadline, proxies, no retry where none helps."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from fedgestalt.exchange.chain import MemoryChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.errors import ExchangeError, UnreachableError
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
