"""The operator's command line: the reference page prints it as it is, and wrong input is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fedgestalt.crypto.keys import Identity
from fedgestalt_operator import main as module
from fedgestalt_operator.main import main

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "operator.md"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's logging is pytest's here."""
    monkeypatch.setattr(module, "start_logs", lambda *_: None)


def help_of(role: str) -> str:
    result = CliRunner().invoke(main, [role, "--help"], prog_name="fedgestalt-operator", terminal_width=80)
    assert result.exit_code == 0
    return result.output.split("\n\n  Every option can be given")[0]


@pytest.mark.parametrize("role", ["hub", "site"])
def test_the_reference_page_shows_the_options_as_they_are(role: str) -> None:
    assert f"```text\n{help_of(role)}\n```" in PAGE.read_text()


@pytest.mark.parametrize("key", ["west", "ab" * 31, "zz" * 32])
def test_a_hub_key_that_is_none_is_wrong_usage_and_said(tmp_path: Path, key: str) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("never read")
    words = ["--namespace", "ns", "--silo", "west", "--exchange-url", "https://exchange.example"]
    words += ["--exchange-ca", str(ca), "--handover", str(tmp_path), "--hub-key", key]
    result = CliRunner().invoke(main, ["site", *words])
    assert result.exit_code == 2
    assert "64 hexadecimal digits" in result.output


def test_a_cluster_that_is_not_there_is_named_with_exit_code_1(tmp_path: Path) -> None:
    ca, config = tmp_path / "ca.pem", tmp_path / "config"
    ca.write_text("never read")
    config.write_text("{}")
    words = ["--namespace", "ns", "--silo", "west", "--exchange-url", "https://exchange.example"]
    words += ["--exchange-ca", str(ca), "--handover", str(tmp_path), "--hub-key", "ab" * 32]
    result = CliRunner().invoke(main, ["site", *words, "--kubeconfig", str(config)])
    assert result.exit_code == 1
    assert "no cluster to talk to" in result.output


class Served:
    """An API server that serves whatever it is asked for."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


@pytest.mark.parametrize("role", ["hub", "site"])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://exchange.example", "http://exchange.example: the exchange is reached by https only"),
        ("https://exchange.example", "ca.pem"),
    ],
)
def test_an_exchange_that_cannot_be_dialled_as_it_is_named_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, url: str, said: str
) -> None:
    monkeypatch.setattr("fedgestalt_operator.kube.api_server.ApiServerCluster", Served)
    monkeypatch.setattr("fedgestalt_operator.kube.served.check_served", lambda *_: None)
    key, ca = tmp_path / "hub.pem", tmp_path / "ca.pem"
    Identity.generate().save(key)
    ca.write_text("no certificate")
    words = ["--namespace", "ns", "--exchange-url", url, "--exchange-ca", str(ca)]
    words += ["--probe-host", "127.0.0.1", "--probe-port", "0"]
    if role == "hub":
        words += ["--hub-key", str(key), "--state", str(tmp_path / "state")]
    else:
        words += ["--silo", "west", "--handover", str(tmp_path / "shared"), "--hub-key", "ab" * 32]
        (tmp_path / "shared").mkdir()
    result = CliRunner().invoke(main, [role, *words])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.output.startswith("Error: ")
    assert len(result.output.splitlines()) == 1
    assert said in result.output
