"""Runs the hub's Job manifests as processes: the same manifests that a cluster's API server would take.

A job is its folder: ``manifest.json`` says what, ``result.json`` that it succeeded, ``failed.json`` that it did not. A job
whose process died without either (the machine went down) is started again, as a pod would be: jobs are stateless.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedgestalt.files import write_atomic
from fedgestalt.processes import Child, spawn

MAX_RESULT_BYTES = 4096


@dataclass(frozen=True)
class LocalJob:
    """What is known of one job."""

    phase: str
    """Running, Succeeded or Failed."""
    result: Mapping[str, Any]
    started: float
    finished: float | None
    exit_code: int | None


class JobRunner:
    """A folder of jobs and the processes that work on them."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        """``environment`` is added to each job's own: where the exchange is, and the job's token file."""
        self._directory = directory
        self._environment = dict(environment)
        self._children: dict[str, Child] = {}

    def create(self, manifest: Mapping[str, Any]) -> bool:
        """Start the job of a batch/v1 manifest; False if a job of that name exists already."""
        name: str = manifest["metadata"]["name"]
        folder = self._directory / name
        if (folder / "manifest.json").exists():
            return False
        write_atomic(folder / "manifest.json", json.dumps(manifest, indent=2, sort_keys=True).encode())
        self._start(name)
        return True

    def names(self) -> list[str]:
        """All jobs that were ever created and not deleted."""
        return sorted(path.parent.name for path in self._directory.glob("*/manifest.json"))

    def has(self, name: str) -> bool:
        """Whether a job of that name was created and not deleted."""
        return bool(name) and (self._directory / name / "manifest.json").exists()

    def manifest(self, name: str) -> dict[str, Any]:
        """What a job was created from."""
        content: dict[str, Any] = json.loads((self._directory / name / "manifest.json").read_text())
        return content

    def get(self, name: str) -> LocalJob:
        """The state of a job; a lost process is started again."""
        folder = self._directory / name
        started = (folder / "manifest.json").stat().st_mtime
        self._settle(name)
        for file, phase in (("result.json", "Succeeded"), ("failed.json", "Failed")):
            path = folder / file
            if path.exists():
                content = json.loads(path.read_bytes()[:MAX_RESULT_BYTES])
                result = content if phase == "Succeeded" else {}
                return LocalJob(phase, result, started, path.stat().st_mtime, content.get("exitCode"))
        if name not in self._children:
            self._start(name)
        return LocalJob("Running", {}, started, None, None)

    def delete(self, name: str) -> None:
        """End the job if it runs and forget it."""
        child = self._children.pop(name, None)
        if child is not None:
            child.stop()
        folder = self._directory / name
        for path in sorted(folder.glob("*")):
            path.unlink()
        if folder.exists():
            folder.rmdir()

    def active(self) -> bool:
        """Whether a process is at work."""
        return any(child.poll() is None for child in self._children.values())

    def stop(self) -> None:
        """End all processes; their jobs go on when the runner is made anew."""
        for child in self._children.values():
            child.stop()
        self._children.clear()

    def kill(self, name: str) -> None:
        """SIGKILL a job's process, as a crash would."""
        self._children[name].kill()

    def _start(self, name: str) -> None:
        folder = self._directory / name
        container = self.manifest(name)["spec"]["template"]["spec"]["containers"][0]
        environment = {item["name"]: item["value"] for item in container.get("env", []) if "value" in item}
        environment.update(self._environment)
        environment["TMPDIR"] = str(folder.resolve())
        environment["FEDGESTALT_RESULT"] = str((folder / "pending.json").resolve())
        self._children[name] = spawn(
            name,
            [*container["command"], *container.get("args", [])],
            directory=folder,
            log=folder / "log.txt",
            environment=environment,
        )

    def _settle(self, name: str) -> None:
        """Turn an ended process into a file, so that its outcome outlives this runner."""
        child = self._children.get(name)
        if child is None or (code := child.poll()) is None:
            return
        folder = self._directory / name
        pending = folder / "pending.json"
        if code == 0 and pending.exists():
            pending.replace(folder / "result.json")
        elif code < 0:
            pass  # a signal ended it: get() starts it again
        else:
            outcome = {"exitCode": code, "finished": time.time()}
            write_atomic(folder / "failed.json", json.dumps(outcome).encode())
        del self._children[name]
