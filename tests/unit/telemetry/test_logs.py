"""Logs are one object a line, with known fields only, and hold nothing that looks like a credential."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest

from fedgestalt_operator.telemetry.logs import (
    FIELDS,
    MAX_TEXT,
    LogFormat,
    configure,
    fields,
    log_transition,
)
from fedgestalt_operator.telemetry.subject import Resource, Subject
from fedgestalt_operator.telemetry.transitions import Severity, Transition, TransitionKind

ROUND = Subject(Resource.FEDERATION_ROUND, "federation", "gm-2026-09", "u-1", "fedgestalt.org/v1alpha1")


@pytest.fixture
def logged():
    """Configure for a format; returns the lines that were written since."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()

    def start(format: LogFormat = LogFormat.JSON, level: int = logging.INFO):
        configure(format, level, stream)
        return lambda: stream.getvalue().splitlines()

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_transition_is_one_json_object_with_its_fields(logged):
    lines = logged()
    log_transition(
        logging.getLogger("fedgestalt_operator"),
        ROUND,
        Transition(
            TransitionKind.ROUND, "TooFewShares", "try 1 is given up", Severity.WARNING, member="r50", t=3
        ),
    )
    (line,) = lines()
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning",
        "logger": "fedgestalt_operator",
        "message": "try 1 is given up",
        "kind": "FederationRound",
        "namespace": "federation",
        "name": "gm-2026-09",
        "uid": "u-1",
        "round": "gm-2026-09",
        "member": "r50",
        "t": 3,
        "transition": "round",
        "reason": "TooFewShares",
    }


def test_a_transition_at_t_zero_keeps_its_t(logged):
    lines = logged()
    log_transition(logging.getLogger("x"), ROUND, Transition(TransitionKind.ROUND, "R", "m", t=0))
    assert json.loads(lines()[0])["t"] == 0


def test_text_is_one_line_for_a_person(logged):
    lines = logged(LogFormat.TEXT)
    log_transition(
        logging.getLogger("x"),
        ROUND,
        Transition(TransitionKind.SILO, "SiloLost", "west is silent", silo="west"),
    )
    (line,) = lines()
    assert "INFO    west is silent" in line
    assert "round=gm-2026-09" in line
    assert "silo=west" in line


@pytest.mark.parametrize("format", list(LogFormat))
def test_unknown_fields_are_dropped_however_they_come(logged, format):
    lines = logged(format)
    log = logging.getLogger("x")
    log.info("one", extra=fields(silo="west", token="tok-1", embedding=[0.25]))
    log.info("two", extra={"password": "pass-2", "k8s_ref": {"name": "ref-3"}})
    text = "\n".join(lines())
    assert "west" in text
    for secret in ("tok-1", "0.25", "pass-2", "ref-3"):
        assert secret not in text


@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ3ZXN0In0.c2lnbmF0dXJl",
        "Bearer abc123def456",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHB\n-----END PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIHB cut short",
    ],
)
@pytest.mark.parametrize("format", list(LogFormat))
def test_what_looks_like_a_credential_is_redacted_everywhere(logged, secret, format):
    lines = logged(format)
    log = logging.getLogger("x")
    log.info("asked with %s", secret)
    log.info("field", extra=fields(reason=secret))
    try:
        raise RuntimeError(f"refused: {secret}")
    except RuntimeError:
        log.exception("failed")
    text = "\n".join(lines())
    assert text.count("[redacted]") == 3
    for part in ("c2lnbmF0dXJl", "abc123def456", "MC4CAQ", "MHcCAQ"):
        assert part not in text


def test_a_proxys_password_is_redacted_and_digests_are_not(logged):
    lines = logged()
    logging.getLogger("x").info("via http://user:hunter2@proxy:3128 for sha256:%s", "ab" * 32)
    assert "hunter2" not in lines()[0]
    assert "ab" * 32 in lines()[0]


@pytest.mark.parametrize("format", list(LogFormat))
def test_a_peers_text_cannot_forge_a_second_line(logged, format):
    lines = logged(format)
    logging.getLogger("x").warning("fault: %s", 'bad\n{"level": "info"}\u2028\x1b[2Jmore')
    assert len(lines()) == 1
    assert "\x1b" not in lines()[0]


def test_long_text_is_cut(logged):
    lines = logged()
    logging.getLogger("x").info("%s", "a" * 5_000)
    assert len(json.loads(lines()[0])["message"]) == MAX_TEXT


def test_an_error_tells_its_type_and_places_but_no_values(logged):
    lines = logged()
    case = "patient-17"

    def inner() -> None:
        raise KeyError("rows") from ValueError(case)

    try:
        inner()
    except KeyError:
        logging.getLogger("x").exception("reconcile failed", extra=fields(round="gm"))
    (line,) = lines()
    found = json.loads(line)
    assert found["error"] == "KeyError: 'rows'"
    assert found["at"][-1].endswith("inner")
    assert case not in line


def test_a_format_that_does_not_fit_is_written_without_its_arguments(logged):
    lines = logged()
    logging.getLogger("x").info("one %d", "no-number")
    assert json.loads(lines()[0])["message"] == "one %d"
    assert "no-number" not in lines()[0]


def test_third_parties_speak_only_when_something_is_wrong(logged):
    lines = logged(level=logging.DEBUG)
    for name in ("kopf.objects", "kubernetes.client.rest", "urllib3.connectionpool", "httpx", "asyncio"):
        logging.getLogger(name).info("hello from %s", name)
        logging.getLogger(name).debug("response body: ...")
    logging.getLogger("kopf.objects").warning("watch ended")
    assert [json.loads(line)["message"] for line in lines()] == ["watch ended"]


def test_configuring_again_does_not_write_twice(logged):
    logged()
    lines = logged()
    logging.getLogger("x").info("once")
    assert len(lines()) == 1


def test_fields_do_not_shadow_those_of_the_line():
    assert not {"time", "level", "logger", "message", "error", "at"} & set(FIELDS)


def test_what_nobody_caught_is_a_line_without_values_from_any_thread():
    program = (
        "import threading\n"
        "from fedgestalt_operator.telemetry.logs import catch_uncaught, configure\n"
        "configure(); catch_uncaught()\n"
        "def fall(secret): raise RuntimeError('fell')\n"
        "thread = threading.Thread(target=fall, args=('tok-1',), name='feed')\n"
        "thread.start(); thread.join()\n"
        "fall('tok-2')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert first["message"] == "nobody caught this in thread feed"
    assert second["message"] == "nobody caught this in thread main"
    assert first["error"] == second["error"] == "RuntimeError: fell"
    assert first["level"] == "critical"
    assert "tok-" not in done.stderr
