"""The command: one process from the release's folder to an answered photo, and its exit codes."""

import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedgestalt.cli.main import main

from .conftest import CLASSES, JPEG, Site, jpeg, rendered
from .process import served


def test_a_photo_posted_to_the_command_is_answered(site: Site, tmp_path: Path) -> None:
    with served(site.folder, tmp_path) as client:
        assert client.get("/readyz").status_code == 200
        answer = client.post("/v1/analyses", content=jpeg(rendered(3, 1, 1)), headers=JPEG)
        assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 403
    assert answer.status_code == 200, answer.text
    assert answer.json()["local"]["candidates"][0]["syndrome"] == CLASSES[3].name
    assert CLASSES[3].name not in (tmp_path / "log").read_text()


def test_an_altered_release_ends_the_command_with_its_reason(site: Site, tmp_path: Path) -> None:
    folder = shutil.copytree(site.folder, tmp_path / "release")
    (folder / "manifest.json").write_bytes(b"{}")
    done = CliRunner().invoke(main, ["serve", "--release", str(folder), "--port", "0"])
    assert done.exit_code == 1
    assert "manifest.json: has digest" in done.output


def test_a_package_that_is_not_installed_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    done = CliRunner().invoke(main, ["serve", "--release", str(site.folder)])
    assert done.exit_code == 1
    assert "'python_multipart', which is not installed" in done.output
