"""`fedgestalt serve` as a process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


@contextmanager
def served(folder: Path, scratch: Path, *options: str) -> Iterator[httpx.Client]:
    """A client of a process that serves the release; it must end at SIGTERM with exit code 0. Log: scratch/log."""
    ready, log = scratch / "port", scratch / "log"
    command = [sys.executable, "-m", "fedgestalt.cli.main", "serve", "--release", str(folder)]
    command += ["--port", "0", "--ready-file", str(ready), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        end = time.monotonic() + 120
        while not ready.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert ready.exists(), log.read_text()
        url = f"http://127.0.0.1:{int(ready.read_text())}"
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert not ready.exists()
