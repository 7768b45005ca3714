"""Child processes of a test server: logs in files, an end for every wait, stopped by their own ids."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class NotStartedError(RuntimeError):
    """A program ended, or did not become ready in time; the message holds the end of its log."""


class Process:
    """One running program whose output goes to `<folder>/<name>.log`."""

    def __init__(self, folder: Path, command: Sequence[str | Path]) -> None:
        self.name = Path(command[0]).name
        self.log = folder / f"{self.name}.log"
        with self.log.open("ab") as log:
            # A session of its own: a Ctrl-C reaches pytest alone, which then stops its servers in order.
            self._process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; negative: by that signal; None while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for `ready()`. Raises NotStartedError when the program ends or `seconds` have passed."""
        end = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise NotStartedError(f"{self.name} ended with {self._process.returncode}:\n{self._tail()}")
            if time.monotonic() > end:
                raise NotStartedError(
                    f"{self.name}: {what} still untrue after {seconds:.0f} s:\n{self._tail()}"
                )
            time.sleep(0.05)

    def stop(self, grace: float = 10) -> None:
        """Ask it to end, and after `grace` seconds make it."""
        self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(grace)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        self._process.wait(10)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def free_port() -> int:
    """A loopback port that nobody listens on; somebody may before we do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
