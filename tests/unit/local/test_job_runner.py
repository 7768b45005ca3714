"""The process runner keeps the workload contract (docs/reference/workload-contract.md)."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.local.jobs import JobRunner, LocalJob

WRITE = "import json,os,pathlib; pathlib.Path(os.environ['FEDGESTALT_RESULT']).write_text(json.dumps({%s}))"


def manifest(name: str, code: str, **env: str) -> dict[str, Any]:
    container = {
        "name": "job",
        "command": ["python", "-c", code],
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
    return {"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": [container]}}}}


def until_over(runner: JobRunner, name: str, seconds: float = 20.0) -> LocalJob:
    end = time.monotonic() + seconds
    while (job := runner.get(name)).phase == "Running":
        assert time.monotonic() < end, "the job did not end"
        time.sleep(0.02)
    return job


@pytest.fixture
def runner(tmp_path: Path) -> JobRunner:
    return JobRunner(tmp_path / "jobs", {"FEDGESTALT_EXCHANGE_URL": "https://127.0.0.1:1"})


def test_parameters_arrive_in_the_environment_and_the_result_comes_back(runner: JobRunner) -> None:
    code = WRITE % "'member': os.environ['FEDGESTALT_MEMBER'], 'url': os.environ['FEDGESTALT_EXCHANGE_URL']"
    assert runner.create(manifest("fg-1", code, FEDGESTALT_MEMBER="s16"))
    job = until_over(runner, "fg-1")
    assert (job.phase, job.result) == ("Succeeded", {"member": "s16", "url": "https://127.0.0.1:1"})


def test_the_parents_environment_does_not_leak_in(runner: JobRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "x")
    runner.create(manifest("fg-1", WRITE % "'seen': 'SOME_SECRET' in os.environ"))
    assert until_over(runner, "fg-1").result == {"seen": False}


def test_a_job_is_created_once(runner: JobRunner) -> None:
    assert runner.create(manifest("fg-1", WRITE % "'n': 1"))
    assert not runner.create(manifest("fg-1", WRITE % "'n': 2"))
    assert until_over(runner, "fg-1").result == {"n": 1}


def test_a_failure_is_final_and_remembered_by_the_next_runner(runner: JobRunner, tmp_path: Path) -> None:
    runner.create(manifest("fg-1", "raise SystemExit(7)"))
    assert until_over(runner, "fg-1").exit_code == 7
    assert JobRunner(tmp_path / "jobs", {}).get("fg-1").phase == "Failed"


def test_success_without_a_result_is_a_failure(runner: JobRunner) -> None:
    runner.create(manifest("fg-1", "pass"))
    assert until_over(runner, "fg-1").phase == "Failed"


def test_a_killed_job_runs_again(runner: JobRunner, tmp_path: Path) -> None:
    flag = tmp_path / "second"
    code = (
        f"import pathlib,time; p=pathlib.Path({str(flag)!r}); first=not p.exists(); p.touch()\n"
        "if first: time.sleep(60)\n" + WRITE % "'n': 2"
    )
    runner.create(manifest("fg-1", code))
    end = time.monotonic() + 20
    while not flag.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    runner.kill("fg-1")
    assert until_over(runner, "fg-1").result == {"n": 2}


def test_a_job_whose_runner_died_runs_again(runner: JobRunner, tmp_path: Path) -> None:
    runner.create(manifest("fg-1", WRITE % "'n': 1"))
    runner.stop()
    again = JobRunner(tmp_path / "jobs", {})
    assert until_over(again, "fg-1").result == {"n": 1}


def test_delete_forgets_the_job(runner: JobRunner) -> None:
    runner.create(manifest("fg-1", "import time; time.sleep(60)"))
    runner.delete("fg-1")
    assert runner.names() == []
    assert json.dumps(runner.active()) == "false"
