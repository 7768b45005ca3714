"""Someone restores yesterday's backup of the hub: silos that saw more refuse to go on as if nothing had happened."""

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from .harness import SILOS, Federation, Setting
from .sent import assert_no_mask_reused, masked_blobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SETTING = Setting(rounds=3, straggler=15, start=30)


class Restore:
    """Copies the hub's folder, or one in it, after the first communication round and puts it back after the second."""

    def __init__(self, federation: Federation, what: str = "", *, with_driver: bool) -> None:
        self._federation, self._with_driver = federation, with_driver
        self._hub = federation.folder / "federation" / "hub"
        self._folder, self._copy = self._hub / what if what else self._hub, federation.folder / "backup"
        self.done = False

    def __call__(self) -> None:
        progress = self._progress()
        if not self._copy.exists() and progress == "m0 1/3":
            self._while_stopped(lambda: shutil.copytree(self._folder, self._copy))
        elif self._copy.exists() and not self.done and progress == "m0 2/3":
            self._restore()
            self.done = True

    def _progress(self) -> str:
        try:
            return str(json.loads((self._hub / "status.json").read_text())["summary"]["progress"])
        except FileNotFoundError:
            return ""

    def _pids(self, *roles: str) -> list[int]:
        return [pid for pid, role in self._federation.processes().items() if role in roles]

    def _while_stopped(self, action: Any) -> None:
        pids = self._pids("driver", "exchange")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            action()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _restore(self) -> None:
        (driver,) = self._pids("driver")
        os.kill(driver, signal.SIGKILL if self._with_driver else signal.SIGSTOP)
        kinds = ("exchange", "agent", "trainer", "job") if self._with_driver else ("exchange",)
        doomed = [pid for pid, role in self._federation.processes().items() if role.startswith(kinds)]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 20.0
        while any(alive(pid) for pid in doomed):
            assert time.monotonic() < until
            time.sleep(0.05)
        shutil.rmtree(self._folder)
        shutil.copytree(self._copy, self._folder)
        if not self._with_driver:
            os.kill(driver, signal.SIGCONT)


def alive(pid: int) -> bool:
    """Whether it runs; a process that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_hub_that_remembers_refuses_a_restored_board(tmp_path: Path) -> None:
    federation = Federation(tmp_path, setting=SETTING)
    restore = Restore(federation, "board", with_driver=False)
    ended = federation.finish(150.0, restore)
    assert restore.done
    assert ended.outcome is None
    assert ended.driver_exits == [1]
    assert "BoardRewound" in ended.log(), ended.log()
    assert_no_mask_reused(ended.record, dict.fromkeys(SILOS, 1))


def test_a_board_that_was_set_back_is_refused_and_the_round_begins_afresh(tmp_path: Path) -> None:
    """Every silo saw more than the restored hub remembers: all of that enrolment is burnt, and the next one succeeds."""
    federation = Federation(tmp_path, setting=SETTING)
    restore = Restore(federation, with_driver=True)
    ended = federation.finish(280.0, restore)
    assert restore.done
    for name in SILOS:
        log = (tmp_path / "federation" / "logs" / f"{name}.log").read_text()
        assert "The exchange was set back" in log, log[-2000:]
        assert "beginning afresh" in log
    assert ended.phase == "Succeeded", ended.log()
    assert ended.outcome is not None
    manifest = ended.outcome["manifest"]
    assert manifest["enrolment"] > 1
    assert sorted(manifest["roster"]) == sorted(SILOS)
    rounds = manifest["members"][0]["rounds"]
    assert [r["t"] for r in rounds] == [1, 2, 3], "from the first communication round on"
    assert not any(r.get("skipped") for r in rounds)
    assert_no_mask_reused(ended.record, dict.fromkeys(SILOS, 1))
    enrolments = {blob.slot.enrolment for blob in masked_blobs(ended.record)}
    assert len(enrolments) > 1, "both enrolments sent masked vectors"
