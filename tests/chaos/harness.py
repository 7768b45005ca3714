"""Runs a federation with kills in it and says how it ended and what was sent."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "inject"))

from crashes import PLAN, name_of, role_of  # noqa: E402

SILOS = ("east", "north", "south", "west")
MAX_STARTS = 30


@dataclass(frozen=True)
class Kill:
    """One SIGKILL at the ``nth`` call of a boundary within one process of a role."""

    role: str
    boundary: str
    when: str
    nth: int = 1

    @property
    def marker(self) -> str:
        return name_of(vars(self))


@dataclass(frozen=True)
class Setting:
    """What is run; two runs of equal settings end in the same model."""

    rounds: int = 2
    seed: int = 1
    workload: tuple[str, ...] = ()
    straggler: int = 60
    start: int = 120
    link: Mapping[str, Any] | None = None


@dataclass
class Ended:
    """A federation that came to its end."""

    folder: Path
    outcome: Mapping[str, Any] | None
    driver_exits: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def record(self) -> Path:
        return self.folder / "record"

    @property
    def fired(self) -> set[str]:
        return {path.name for path in (self.record / "fired").iterdir()}

    @property
    def phase(self) -> str:
        return "" if self.outcome is None else str(self.outcome["phase"])

    def models(self) -> dict[str, Any]:
        """Per member: each round's survivors and model hash, the last one being the release's."""
        assert self.outcome is not None
        assert self.outcome["manifest"] is not None
        return {member["name"]: member["rounds"] for member in self.outcome["manifest"]["members"]}

    def log(self, lines: int = 40) -> str:
        """The end of the driver's log."""
        return "\n".join((self.folder / "driver.log").read_text(errors="replace").splitlines()[-lines:])


class Federation:
    """A driver process with all that descends from it; starts the driver again when it was killed."""

    def __init__(self, folder: Path, kills: Sequence[Kill] = (), setting: Setting | None = None) -> None:
        self.folder, self.kills, self.setting = folder.resolve(), list(kills), setting or Setting()
        self._process: subprocess.Popen[bytes] | None = None
        self.exits: list[int] = []
        record = self.folder / "record"
        (record / "fired").mkdir(parents=True)
        plan = {"record": str(record), "kills": [vars(kill) for kill in self.kills]}
        (self.folder / "plan.json").write_text(json.dumps(plan))
        config = {"folder": str(self.folder), "silos": SILOS, **vars(self.setting)}
        (self.folder / "config.json").write_text(json.dumps(config))

    def start(self) -> None:
        """Start the driver."""
        paths = [str(HERE / "inject"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            PLAN: str(self.folder / "plan.json"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        with (self.folder / "driver.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "driver.py"), "--driver", str(self.folder / "config.json")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def processes(self) -> dict[int, str]:
        """Living processes of this federation: pid -> role."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                where = str((entry / "cwd").readlink())
            except OSError:
                continue
            if any(word.startswith(f"{self.folder}/") for word in words) or where.startswith(
                f"{self.folder}/"
            ):
                role = role_of(words)
                if role:
                    found[int(entry.name)] = role
        return found

    def finish(self, limit: float, meanwhile: Callable[[], None] = lambda: None) -> Ended:
        """Wait for the end, starting the driver again after each kill.

        Raises:
            AssertionError: no end within ``limit`` seconds; the driver is ended then.
        """
        begun = time.monotonic()
        try:
            while len(self.exits) < MAX_STARTS:
                if self._process is None:
                    self.start()
                assert self._process is not None
                code = self._process.poll()
                if code is None:
                    if time.monotonic() - begun > limit:
                        ended = Ended(self.folder, None, self.exits)
                        raise AssertionError(f"no end within {limit} s\n{ended.log()}")
                    meanwhile()
                    time.sleep(0.05)
                    continue
                self.exits.append(code)
                self._process = None
                if code != -signal.SIGKILL:
                    break
        finally:
            self.stop()
        file = self.folder / "outcome.json"
        outcome = json.loads(file.read_text()) if file.exists() else None
        return Ended(self.folder, outcome, self.exits, time.monotonic() - begun)

    def stop(self) -> None:
        """End the driver, and wait until nothing that it started is left."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        until = time.monotonic() + 20.0
        while left := self.processes():
            if time.monotonic() > until:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)


def run(
    folder: Path, kills: Sequence[Kill] = (), setting: Setting | None = None, *, limit: float = 150.0
) -> Ended:
    """A whole federation with these kills in it."""
    return Federation(folder, kills, setting).finish(limit)
