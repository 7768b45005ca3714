"""A site's operator as its command line puts it together: what its probes and metrics show."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fedgestalt.exchange.tls import make_tls
from fedgestalt_operator.kube.errors import ClusterUnavailable
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.site.wiring import SiteSettings, site_operator
from fedgestalt_operator.telemetry.health import Need

from .waiting import until

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Probed:
    """What a running operator answers at its probes' port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float | None:
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if (sample.name, sample.labels) == (f"fedgestalt_operator_{name}", labels):
                    return float(sample.value)
        return None


class Away(MemoryCluster):
    """An API server that does not answer."""

    def list(self, kind: str, namespace: str, labels: Mapping[str, str] | None = None) -> Any:
        raise ClusterUnavailable(f"list {kind}: no answer")


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Probed]:
    """A site whose hub cannot be reached."""
    monkeypatch.setattr("fedgestalt_operator.site.wiring.CALL_SECONDS", 1.0)
    with site(tmp_path, MemoryCluster()) as probed:
        yield probed


@contextlib.contextmanager
def site(tmp_path: Path, cluster: MemoryCluster) -> Iterator[Probed]:
    """A site's operator that runs."""
    probes, nobody = free_port(), free_port()
    settings = SiteSettings(
        namespace="hospital",
        silo="west",
        exchange_url=f"https://{HOST}:{nobody}",
        exchange_ca=make_tls(tmp_path / "tls", [HOST]).ca,
        hub_key=bytes(32),
        handover=tmp_path / "shared",
        probes=(HOST, probes),
    )
    with site_operator(settings, cluster) as operator:
        thread = threading.Thread(target=operator.run)
        thread.start()
        try:
            yield Probed(probes)
        finally:
            operator.stop()
            thread.join(30)
            assert not thread.is_alive()


def test_a_quiet_site_shows_when_it_last_looked_at_what(running: Probed) -> None:
    began = time.time() - 60
    until(lambda: running.get("/readyz") == (200, "ok\n"))
    until(lambda: (running.metric("last_reconcile_timestamp_seconds") or 0) > began)
    for kind in ("SiloTask", "ParticipationGrant"):
        until(
            lambda kind=kind: (running.metric("watch_last_event_timestamp_seconds", kind=kind) or 0) > began
        )


def test_the_links_state_and_the_age_of_its_last_success_are_metrics(running: Probed) -> None:
    until(lambda: running.metric("exchange_up") == 0)
    assert running.metric("link_state", reason="LinkLost") == 1
    assert running.metric("link_state", reason="Connected") == 0
    assert (running.metric("exchange_lag_seconds") or 0) > 0


def test_a_silent_api_server_makes_no_site_s_operator_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in ("wiring.CALL_SECONDS", "wiring.RESYNC_SECONDS", "reconcile.PAUSE_SECONDS"):
        monkeypatch.setattr(f"fedgestalt_operator.site.{where}", 0.1)
    monkeypatch.setattr("fedgestalt_operator.site.wiring.STALE_SECONDS", 3.0)
    monkeypatch.setattr("fedgestalt_operator.site.endpoints.PAUSE_SECONDS", 0.1)
    with site(tmp_path, Away()) as probed:
        time.sleep(4.0)
        assert probed.get("/livez") == (200, "ok\n")
        status, why = probed.get("/readyz")
        assert (status, why) == (503, f"not yet: {Need.CACHES_LISTED.value}\n")
