"""Tasks from a shared folder: whole files only, each change once, status and ledger back, and a token that is renewed."""

import json
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.files import write_atomic
from fedgestalt.silo.config import SiteConfigError, load_site_config
from fedgestalt.silo.sources import FolderTasks

SPEC = {"silo": "west", "kind": "Enrol", "roundUID": "1" * 8, "digest": "d" * 64, "attempt": 1}


class Tokens:
    """A credential whose token the test changes."""

    value = "first"

    def token(self) -> str:
        return self.value


def give(folder: Path, name: str, **changes: Any) -> None:
    write_atomic(
        folder / "tasks" / f"{name}.json", json.dumps({"name": name, "spec": {**SPEC, **changes}}).encode()
    )


@pytest.fixture
def source(tmp_path: Path) -> FolderTasks:
    return FolderTasks(tmp_path, Tokens())


def test_each_task_is_given_once(source: FolderTasks, tmp_path: Path) -> None:
    assert source.wait(0) == []
    give(tmp_path, "a")
    give(tmp_path, "b", attempt=2)
    assert [(task.name, task.spec["attempt"]) for task in source.wait(0)] == [("a", 1), ("b", 2)]
    assert source.wait(0) == []


def test_an_agent_that_starts_anew_gets_its_tasks_again(source: FolderTasks, tmp_path: Path) -> None:
    give(tmp_path, "a")
    source.wait(0)
    assert [task.name for task in FolderTasks(tmp_path, Tokens()).wait(0)] == ["a"]


def test_a_task_that_comes_while_waiting_ends_the_wait(source: FolderTasks, tmp_path: Path) -> None:
    threading.Timer(0.2, give, (tmp_path, "a")).start()
    began = time.monotonic()
    assert [task.name for task in source.wait(30)] == ["a"]
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"name": "other", "spec": {}}', '{"name": "bad", "spec": {"kind": "Enrol"}}', " " * 70_000],
)
def test_a_file_that_is_no_task_hides_no_other_one(source: FolderTasks, tmp_path: Path, text: str) -> None:
    write_atomic(tmp_path / "tasks" / "bad.json", text.encode())
    give(tmp_path, "good")
    assert [task.name for task in source.wait(0)] == ["good"]


def test_a_status_is_written_where_it_changed_and_again_where_it_was_lost(
    source: FolderTasks, tmp_path: Path
) -> None:
    path = tmp_path / "status" / "a.json"
    source.report("a", {"phase": "Running"})
    first = path.stat().st_ino
    source.report("a", {"phase": "Running"})
    assert path.stat().st_ino == first
    source.report("a", {"phase": "Succeeded"})
    assert json.loads(path.read_text()) == {"phase": "Succeeded"}
    path.unlink()
    source.report("a", {"phase": "Succeeded"})
    assert path.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_ledger_and_token_are_kept_fresh(tmp_path: Path) -> None:
    tokens = Tokens()
    source = FolderTasks(tmp_path, tokens)
    source.publish({"unreadable": False, "grants": {}})
    assert json.loads((tmp_path / "ledger.json").read_text()) == {"unreadable": False, "grants": {}}
    assert (tmp_path / "token").read_text() == "first"
    tokens.value = "second"
    source.publish({"unreadable": True, "grants": {}})
    assert json.loads((tmp_path / "ledger.json").read_text())["unreadable"]
    assert (tmp_path / "token").read_text() == "second"


def site_file(folder: Path, **changes: Any) -> Path:
    content = {
        "name": "west",
        "exchange": {"url": "https://127.0.0.1:9", "ca": "ca.pem"},
        "hubKey": bytes(32).hex(),
        "identity": "identity.pem",
        "datasets": {},
        "seed": "seed",
        **changes,
    }
    path = folder / "site.json"
    path.write_text(json.dumps(content))
    return path


def test_a_site_with_a_shared_folder_takes_its_grants_from_there(tmp_path: Path) -> None:
    site = load_site_config(site_file(tmp_path, handover="shared"))
    assert (site.handover, site.grant_file) == (tmp_path / "shared", tmp_path / "shared" / "grants")


def test_a_site_without_one_names_its_grant(tmp_path: Path) -> None:
    with pytest.raises(SiteConfigError, match="'grant'"):
        load_site_config(site_file(tmp_path))
    assert load_site_config(site_file(tmp_path, grant="grant.yaml")).handover is None
