"""The reference of the resources says what the CRDs say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from fedgestalt_operator.kube.crds import crd_folder

ROOT = crd_folder().parent
SCRIPT = Path("scripts") / "crd-reference"
PAGE = Path("docs") / "reference" / "resources.md"


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / SCRIPT), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def checkout(folder: Path) -> Path:
    for path in (SCRIPT, PAGE, *(f.relative_to(ROOT) for f in crd_folder().glob("*.yaml"))):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    return folder


def test_page_is_up_to_date():
    result = run(ROOT, "--check")
    assert (result.returncode, result.stderr) == (0, ""), result.stderr


def test_changed_crd_is_noticed_and_written(tmp_path):
    root = checkout(tmp_path)
    crd = root / "crds" / "fedgestalt.org_participationgrants.yaml"
    crd.write_text(crd.read_text().replace("a revocation is for good;", "a revocation stays;"))
    stale = run(root, "--check")
    assert stale.returncode == 1
    assert stale.stderr == f"{PAGE} is out of date with crds/; run scripts/crd-reference\n"
    assert run(root).returncode == 0
    assert "a revocation stays;" in (root / PAGE).read_text()
    assert run(root, "--check").returncode == 0


def test_kind_that_the_page_does_not_know_is_an_error(tmp_path):
    root = checkout(tmp_path)
    crd = root / "crds" / "fedgestalt.org_silos.yaml"
    crd.write_text(crd.read_text().replace("kind: Silo\n", "kind: Hospital\n", 1))
    before = (root / PAGE).read_text()
    result = run(root)
    assert result.returncode == 1
    assert "differ in Hospital, Silo" in result.stderr
    assert (root / PAGE).read_text() == before
