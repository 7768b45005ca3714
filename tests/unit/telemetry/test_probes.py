"""The probes tell a stuck operator from an idle one, over real HTTP."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys

import pytest

from fedgestalt_operator.telemetry.health import SILENT_SECONDS, Contact, Health, Need
from fedgestalt_operator.telemetry.metrics import Metrics
from fedgestalt_operator.telemetry.probes import ProbeError, ProbeServer

HOST = "127.0.0.1"


class Clock:
    def __init__(self) -> None:
        self.now = 5_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock) -> Health:
    return Health(stale_after=120, resync_every=30, now=clock)


@pytest.fixture
def ask(health):
    with ProbeServer(health, Metrics(), host=HOST, port=0) as server:

        def request(path: str, method: str = "GET") -> tuple[int, str]:
            connection = http.client.HTTPConnection(HOST, server.port, timeout=5)
            try:
                connection.request(method, path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()

        yield request


def test_a_fresh_operator_lives_and_is_not_ready(ask):
    assert ask("/livez") == (200, "ok\n")
    status, text = ask("/readyz")
    assert status == 503
    assert text.splitlines() == [f"not yet: {need.value}" for need in Need]


def test_ready_once_everything_that_is_needed_has_happened(ask, health):
    health.met(Need.CRDS_CHECKED)
    health.met(Need.EXCHANGE_ANSWERED)
    assert ask("/readyz") == (503, "not yet: every kind has been listed\n")
    health.met(Need.CACHES_LISTED)
    assert ask("/readyz") == (200, "ok\n")


@pytest.mark.parametrize(("silent", "other"), [tuple(Contact), tuple(reversed(Contact))])
def test_readiness_is_withdrawn_while_somebody_it_works_with_is_silent_and_comes_back(
    ask, health, clock, silent, other
):
    for need in Need:
        health.met(need)
    clock.now += SILENT_SECONDS
    health.reached(other)
    health.resynced()
    assert ask("/readyz") == (200, "ok\n")
    clock.now += 1
    assert ask("/readyz") == (503, f"{silent.value} has not answered for 121 s\n")
    assert ask("/livez") == (200, "ok\n")  # a restart would not mend it
    health.reached(silent)
    assert ask("/readyz") == (200, "ok\n")


def test_an_idle_operator_lives_as_long_as_it_resyncs(ask, health, clock):
    for _ in range(20):
        clock.now += 30
        health.resynced()
    assert ask("/livez")[0] == 200


def test_queued_work_that_nobody_finishes_is_fatal(ask, health, clock):
    health.queue_depth(4)
    for _ in range(4):
        clock.now += 30
    assert ask("/livez")[0] == 200
    clock.now += 1
    status, text = ask("/livez")
    assert status == 503
    assert text == "4 keys are queued and nothing was reconciled for 121 s\n"


def test_work_that_has_just_arrived_may_wait(ask, health, clock):
    clock.now += 140
    health.queue_depth(1)
    clock.now += 5
    assert ask("/livez")[0] == 200


def test_a_long_queue_that_moves_is_well(ask, health, clock):
    health.queue_depth(900)
    for _ in range(10):
        clock.now += 100
        health.resynced()
        health.progressed()
    health.queue_depth(850)
    assert ask("/livez")[0] == 200


def test_an_empty_queue_and_a_dead_resync_is_fatal(ask, health, clock):
    """Lesson 7: an operator that sees nothing any more has nothing to do, and looks well. The probe asks when it looked."""
    clock.now += 30 + 121
    assert ask("/livez") == (503, "the resync is overdue by 121 s\n")


def test_a_dead_resync_is_not_hidden_by_reconciles_that_events_cause(ask, health, clock):
    for _ in range(16):
        clock.now += 10
        health.progressed()
    assert ask("/livez")[0] == 503


def test_stuck_workers_are_not_hidden_by_a_resync_that_runs(ask, health, clock):
    health.queue_depth(2)
    for _ in range(5):
        clock.now += 30
        health.resynced()
        health.queue_depth(9)
    assert ask("/livez") == (503, "9 keys are queued and nothing was reconciled for 150 s\n")


def test_work_finished_again_heals(ask, health, clock):
    health.queue_depth(1)
    clock.now += 130
    assert ask("/livez")[0] == 503
    health.progressed()
    assert ask("/livez")[0] == 200


def test_an_ending_operator_is_unready_and_not_restarted(ask, health, clock):
    for need in Need:
        health.met(need)
    health.queue_depth(3)
    health.closing()
    clock.now += 1_000
    assert ask("/livez")[0] == 200
    assert ask("/readyz") == (503, "the operator is ending\n")


def test_a_role_without_an_exchange_does_not_wait_for_it(clock):
    health = Health(needs=(Need.CRDS_CHECKED,), now=clock)
    health.met(Need.CRDS_CHECKED)
    assert health.unready() == []


def test_metrics_are_served_where_the_probes_are(ask):
    status, text = ask("/metrics")
    assert status == 200
    assert "fedgestalt_operator_queue_depth 0.0" in text


def test_other_paths_say_what_there_is(ask):
    status, text = ask("/healthz")
    assert status == 404
    assert "/livez, /readyz, /metrics" in text


def test_head_has_no_body_so_that_the_connection_goes_on(health):
    with ProbeServer(health, Metrics(), host=HOST, port=0) as server:
        connection = http.client.HTTPConnection(HOST, server.port, timeout=5)
        for method, body in (("HEAD", b""), ("GET", b"ok\n")):
            connection.request(method, "/livez")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, body)
        connection.close()


def test_query_strings_do_not_matter(ask):
    assert ask("/livez?verbose")[0] == 200


def test_a_client_that_says_nothing_does_not_stop_the_others(ask, health):
    with ProbeServer(health, Metrics(), host=HOST, port=0) as server:
        silent = socket.create_connection((HOST, server.port), timeout=5)
        try:
            connection = http.client.HTTPConnection(HOST, server.port, timeout=5)
            connection.request("GET", "/livez")
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            silent.close()


def test_a_taken_port_says_so(health):
    with ProbeServer(health, Metrics(), host=HOST, port=0) as server:
        other = ProbeServer(health, Metrics(), host=HOST, port=server.port)
        with pytest.raises(ProbeError, match=rf"{server.port}.*choose another"):
            other.start()


def test_closing_frees_the_port_and_may_be_repeated(health):
    server = ProbeServer(health, Metrics(), host=HOST, port=0)
    server.start()
    port = server.port
    server.close()
    server.close()
    with ProbeServer(health, Metrics(), host=HOST, port=port) as again:
        assert again.port == port


def test_the_server_never_keeps_a_process_alive():
    program = (
        "from fedgestalt_operator.telemetry.health import Health\n"
        "from fedgestalt_operator.telemetry.metrics import Metrics\n"
        "from fedgestalt_operator.telemetry.probes import ProbeServer\n"
        "ProbeServer(Health(), Metrics(), host='127.0.0.1', port=0).start()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
