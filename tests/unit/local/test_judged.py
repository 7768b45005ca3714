"""`fedgestalt discovery measure`: the hub's clusters against the truth of a synthetic federation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from fedgestalt.cli.main import main
from fedgestalt.data.undiagnosed import TRUTH
from fedgestalt.exchange.epochs.service import EpochService
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.epochs.values import Budget
from fedgestalt.lineage import ReleaseStore
from fedgestalt.local.setup import Layout

from ..exchange.epoch_rows import EPOCH, FIRST, RELEASE, handle
from ..exchange.test_epochs_discovery import SILOS, rows


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work directory whose hub told one cluster: the last of three undiagnosed cases of each silo."""
    layout = Layout(tmp_path / "federation")
    service = EpochService(EpochStore(layout.board / "epochs"))
    service.open(EPOCH, RELEASE, {n: k.public for n, k in SILOS.items()}, Budget(10_000, 10), now=1.0)
    for name in SILOS:
        service.ingest(EPOCH, name, "00" * 32, rows(name).encode(), now=1.0)
        numbers = range(FIRST[name] + 60, FIRST[name] + 63)
        photos = {f"photos/U-{number}-0.jpg": handle(number).hex() for number in numbers}
        folder = layout.silo(name) / "releases" / RELEASE
        folder.mkdir(parents=True)
        (folder / "handles.json").write_text(json.dumps(photos))
        cohort = tmp_path / "cohorts" / name
        (cohort / "photos").mkdir(parents=True)
        for photo in photos:
            (cohort / photo).touch()
        lines = [f"{photo},{photo[7:-6]},,undiagnosed," for photo in photos]
        (cohort / "manifest.csv").write_text("\n".join(["image,patient,syndrome,role,test_splits", *lines]))
    assert service.discover(EPOCH) == 1
    service.store.close()
    manifest = SimpleNamespace(epoch=EPOCH, rows=dict.fromkeys(SILOS))
    release = SimpleNamespace(digest=RELEASE, manifest=manifest)
    monkeypatch.setattr(ReleaseStore, "resolve", lambda *_: release)
    return tmp_path


def measure(folder: Path, has: Mapping[str, str]) -> Result:
    truth = {f"U-{first + k}": "R009" for first in FIRST.values() for k in (60, 61)}
    truth |= {f"U-{FIRST[name] + 62}": syndrome for name, syndrome in has.items()}
    (folder / "cohorts" / TRUTH).write_text(json.dumps({"heldOut": ["R001", "R002"], "patients": truth}))
    where = ["--workdir", str(folder / "federation"), "--cohorts", str(folder / "cohorts"), "--release", "x"]
    return CliRunner().invoke(main, ["discovery", "measure", *where])


def test_a_cluster_of_one_syndrome_is_true(told: Path) -> None:
    done = measure(told, dict.fromkeys(SILOS, "R001"))
    assert done.exit_code == 0, done.output
    assert "clusters told: 1, true 1, false 0" in done.output
    assert "held-out syndromes found: 1 of 1 that three hospitals have" in done.output
    assert "false-cluster rate: 0.0 %" in done.output


def test_a_cluster_of_strangers_is_false(told: Path) -> None:
    done = measure(told, {"east": "R001", "north": "R003", "west": "R004"})
    assert "clusters told: 1, true 0, false 1" in done.output
    assert "false-cluster rate: 100.0 %" in done.output


def test_what_is_not_there_is_said(told: Path) -> None:
    (told / "cohorts" / TRUTH).unlink(missing_ok=True)
    where = ["--cohorts", str(told / "cohorts"), "--release", "x"]
    done = CliRunner().invoke(main, ["discovery", "measure", "--workdir", str(told / "federation"), *where])
    assert done.exit_code == 1
    assert "synth --undiagnosed" in done.output
    (told / "cohorts" / TRUTH).write_text("{}")
    done = CliRunner().invoke(main, ["discovery", "measure", "--workdir", str(told / "federation"), *where])
    assert "is damaged" in done.output
    measure(told, {})
    done = CliRunner().invoke(main, ["discovery", "measure", "--workdir", str(told), *where])
    assert "no query service yet" in done.output
