"""`fedgestalt doctor` sees what stands in the way, says how to mend it, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedgestalt.cli import _doctor_checks as checks
from fedgestalt.cli.doctor import command

GIB = 2**30


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_it_leaves_nothing_in_the_working_folder(tmp_path: Path) -> None:
    assert {f.level for f in checks.disk(tmp_path / "absent" / "deeper")} <= {"ok", "warning"}
    assert list(tmp_path.iterdir()) == []


def test_json_has_every_check_once_and_every_fault_its_cure() -> None:
    result = CliRunner().invoke(command, ["--json", "--workdir", "/tmp"])
    content = json.loads(result.stdout)
    assert result.exit_code == (0 if content["ok"] else 1)
    names = [finding["check"] for finding in content["findings"]]
    assert len(names) == len(set(names))
    assert all(f["mend"] for f in content["findings"] if f["level"] != "ok")


def test_a_path_too_long_for_a_socket_is_a_problem_and_exit_code_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--workdir", str(tmp_path / ("x" * 90))])
    assert result.exit_code == 1
    assert "socket path" in result.stdout


@pytest.mark.parametrize(("exempt", "level"), [("", "problem"), ("127.0.0.1,localhost", "ok")])
def test_a_proxy_must_leave_the_loopback_alone(
    monkeypatch: pytest.MonkeyPatch, exempt: str, level: str
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", exempt)
    assert [f.level for f in checks.loopback(Path("/")) if f.check == "proxy"] == [level]


def test_memory_is_what_the_control_group_leaves(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:  {16 * GIB // 1024} kB\n")
    assert checks._available_memory(tmp_path, tmp_path) == 16 * GIB
    (tmp_path / "memory.max").write_text(f"{4 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    assert checks._available_memory(tmp_path, tmp_path) == 3 * GIB
    (tmp_path / "memory.max").write_text("max\n")
    assert checks._available_memory(tmp_path, tmp_path) == 16 * GIB


def test_a_missing_extra_is_a_warning_and_a_missing_core_package_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = ["no-such-core>=1", 'no-such-extra[x]>=2; extra == "train"']
    monkeypatch.setattr(checks, "requires", lambda _: listed)
    levels = {f.check: (f.level, f.what) for f in checks.packages(Path("/"))}
    assert levels["packages, core"] == ("problem", "missing: no-such-core")
    assert levels["packages, train"] == ("warning", "missing: no-such-extra")
