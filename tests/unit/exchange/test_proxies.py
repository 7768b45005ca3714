"""The way out of a hospital: its proxy is used where the environment says so, trusted where the site says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedgestalt.exchange.chain import MemoryChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import Code, ExchangeError, RefusedError, UnreachableError
from fedgestalt.exchange.tls import TlsFiles, make_tls
from fedgestalt.exchange.tokens import KeyCredential, Role

from .conftest import Federation
from .proxies import ConnectProxy, OpeningProxy

HOST = "exchange.example"
Proxied = Callable[[ConnectProxy], ConnectProxy]


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Federation]:
    """An exchange under a name that only a proxy can reach."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("FEDGESTALT_EXTRA_CA", raising=False)
    federation = Federation(tmp_path, make_tls(tmp_path / "tls", [HOST, "127.0.0.1", "127.0.0.2"]))
    federation.start()
    yield federation
    federation.close()


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxied]:
    """Names a proxy in the environment."""
    made: list[ConnectProxy] = []

    def name(proxy: ConnectProxy) -> ConnectProxy:
        made.append(proxy)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        return proxy

    yield name
    for proxy in made:
        proxy.close()


@pytest.fixture
def proxy_tls(tmp_path: Path) -> TlsFiles:
    return make_tls(tmp_path / "proxy", [HOST])


def west_at(federation: Federation, host: str = HOST, extra_ca: Path | None = None) -> BoardClient:
    return BoardClient(
        f"https://{host}",
        federation.tls.ca,
        KeyCredential(federation.silos["west"], Role.SILO, "west", federation.hub.public),
        name="west",
        hub_key=federation.hub.public,
        state=MemoryChainState(),
        deadline=10.0,
        extra_ca=extra_ca,
    )


def test_the_environments_proxy_is_used_but_not_for_loopback(away: Federation, proxied: Proxied) -> None:
    proxy = proxied(ConnectProxy(away.port))
    assert away.client("west").tasks() == ([], 0)
    assert proxy.asked == []
    with west_at(away) as west:
        assert west.tasks() == ([], 0)
    assert proxy.asked == [f"CONNECT {HOST}:443 HTTP/1.1"]


def test_no_proxy_names_hosts_that_are_reached_directly(
    away: Federation, proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = proxied(ConnectProxy(away.port))
    where = f"127.0.0.2:{away.port}"  # the exchange listens on 127.0.0.1 only
    with west_at(away, where) as west:
        assert west.tasks() == ([], 0)
    assert proxy.asked == [f"CONNECT {where} HTTP/1.1"]
    monkeypatch.setenv("NO_PROXY", "elsewhere.example,127.0.0.2")
    with west_at(away, where) as west:
        west._transport._deadline = 0.5
        with pytest.raises(UnreachableError, match="NO_PROXY"):
            west.tasks()
    assert len(proxy.asked) == 1


def test_a_proxy_that_opens_tls_is_trusted_only_where_the_site_names_its_authority(
    away: Federation, proxied: Proxied, proxy_tls: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = OpeningProxy(away.port, proxy_tls, away.tls.ca, HOST)
    proxied(proxy)
    began = time.monotonic()
    with west_at(away) as west, pytest.raises(UnreachableError, match="FEDGESTALT_EXTRA_CA"):
        west.tasks()
    assert time.monotonic() - began < 5  # not worth a retry
    # Nothing of the site's has left it, not even a token.
    assert proxy.seen == b""
    with west_at(away, extra_ca=proxy_tls.ca) as west:
        assert west.tasks() == ([], 0)
    assert b"GET /v1/tasks" in proxy.seen
    monkeypatch.setenv("FEDGESTALT_EXTRA_CA", str(proxy_tls.ca))
    with west_at(away) as west:
        assert west.tasks() == ([], 0)
    # The query service's client goes the same way.
    credential = KeyCredential(away.silos["west"], Role.SILO, "west", away.hub.public)
    with EpochClient(f"https://{HOST}", away.tls.ca, credential) as epochs:
        with pytest.raises(RefusedError) as refusal:
            epochs.status("0" * 64)
        assert refusal.value.code is Code.EPOCH_UNKNOWN


def test_an_authority_of_the_site_does_not_take_the_place_of_the_exchanges_own(
    away: Federation, proxied: Proxied, proxy_tls: TlsFiles
) -> None:
    proxied(ConnectProxy(away.port))
    with west_at(away, extra_ca=proxy_tls.ca) as west:
        assert west.tasks() == ([], 0)


def test_an_extra_authority_that_is_no_certificate_is_named(
    away: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proxy.pem").write_text("no certificate")
    for value in ("proxy.pem", "absent.pem"):
        monkeypatch.setenv("FEDGESTALT_EXTRA_CA", str(tmp_path / value))
        with pytest.raises(ExchangeError, match=rf"{value}.*FEDGESTALT_EXTRA_CA"):
            west_at(away)
    monkeypatch.setenv("FEDGESTALT_EXTRA_CA", "")
    west_at(away).close()
