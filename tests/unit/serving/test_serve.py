"""The command: one process from the release's folder to an answered photo, and its exit codes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from click.testing import CliRunner

from fedgestalt.cli.main import main

from .conftest import CLASSES, JPEG, Site, jpeg, rendered


def test_a_photo_posted_to_the_command_is_answered(site: Site, tmp_path: Path) -> None:
    ready, log = tmp_path / "port", tmp_path / "log"
    command = [sys.executable, "-m", "fedgestalt.cli.main", "serve", "--release", str(site.folder)]
    command += ["--port", "0", "--ready-file", str(ready)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        end = time.monotonic() + 120
        while not ready.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        url = f"http://127.0.0.1:{int(ready.read_text())}"
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert client.get("/readyz").status_code == 200
            answer = client.post("/v1/analyses", content=jpeg(rendered(3, 1, 1)), headers=JPEG)
            rebound = client.get("/healthz", headers={"host": "evil.example"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert answer.status_code == 200, answer.text
    assert answer.json()["local"]["candidates"][0]["syndrome"] == CLASSES[3].name
    assert rebound.status_code == 403
    assert not ready.exists()
    assert CLASSES[3].name not in log.read_text()


def test_an_altered_release_ends_the_command_with_its_reason(site: Site, tmp_path: Path) -> None:
    folder = shutil.copytree(site.folder, tmp_path / "release")
    (folder / "manifest.json").write_bytes(b"{}")
    done = CliRunner().invoke(main, ["serve", "--release", str(folder), "--port", "0"])
    assert done.exit_code == 1
    assert "manifest.json: has digest" in done.output
