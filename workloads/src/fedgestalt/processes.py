"""Child processes that are named, logged, counted and ended with the federation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Variables that a child needs to run at all; everything else must be given by name.
_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "OPENBLAS_CORETYPE",
    "SSL_CERT_FILE",
)


def available_cores() -> int:
    """Cores that this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Child:
    """One running or ended process."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    started: float = field(default_factory=time.time)

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """The exit code, or None while it runs (negative: ended by that signal)."""
        return self.process.poll()

    def stop(self, grace: float = 5.0) -> int:
        """Ask it to end, insist after ``grace`` seconds; return the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log, for an error message."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def spawn(
    name: str,
    command: Sequence[str],
    *,
    directory: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start ``command`` in ``directory``, its output appended to ``log``; it ends when this process does.

    ``fedgestalt`` as the command's first word means this installation. Call it from the main thread: the kernel ties
    the child's life to the thread that started it (prctl(2)).
    """
    directory.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    words = list(command)
    if words[0] == "fedgestalt":
        words = [sys.executable, "-m", "fedgestalt.cli.main", *words[1:]]
    elif words[0] == "python":
        words[0] = sys.executable
    full = [sys.executable, "-m", "fedgestalt.launch", "--", *words]
    variables = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    variables.update(environment or {})
    with log.open("ab") as sink:
        process = subprocess.Popen(
            full,
            cwd=directory,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    return Child(name, process, log)
