"""A hospital's side of whole rounds: a steward who revokes in the middle, and a site that is run by its operator."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedgestalt.local.setup import Layout
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.validate import validate_file
from fedgestalt_operator.site.operator import SiteOperator
from fedgestalt_operator.site.wiring import SiteSettings, site_operator

from .numeric_federation import SILOS, federation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SPACE = "site"
ROUNDS = 24


def at(progress: str, act: Any) -> Any:
    """A status callback that acts once, when a round has come so far."""
    done = threading.Event()

    def on_status(status: Mapping[str, Any]) -> None:
        if not done.is_set() and status["summary"]["progress"] == progress:
            done.set()
            act()

    on_status.done = done  # type: ignore[attr-defined]
    return on_status


def silo_status(outcome: Any, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(s for s in outcome.status["silos"] if s["name"] == name)
    return found


def test_a_steward_who_revokes_stops_one_silo_and_not_the_round(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "federation")
    grant = layout.silo("west") / "grant.yaml"

    def revoke() -> None:
        document = yaml.safe_load(grant.read_text())
        document["spec"]["revoked"] = True
        grant.write_text(yaml.safe_dump(document))

    # Rounds over small vectors take half a second, and a silo looks at its grants every few: enough of them must follow.
    hook = at(f"m0 1/{ROUNDS}", revoke)
    outcome = federation(tmp_path, SILOS, rounds=ROUNDS).run(hook)
    assert hook.done.is_set()
    assert outcome.phase == "Succeeded"
    assert silo_status(outcome, "west")["fault"] == "GrantMismatch"
    survivors = {t["t"]: t["survivors"] for t in outcome.manifest["members"][0]["rounds"]}
    assert "west" in survivors[1]
    assert "west" not in survivors[ROUNDS]
    log = (layout.logs / "west.log").read_text()
    assert log.count("leaving it: GrantRevoked") == 1
    assert not (layout.silo("west") / "releases").exists()


class Hospital:
    """West, whose agent sees the hub only through its operator; the cluster is one in memory."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.cluster = layout, MemoryCluster()
        self.operator: SiteOperator | None = None
        self.thread: threading.Thread | None = None
        self.failure: BaseException | None = None

    def adopt(self, site: Path) -> None:
        """Turn a site of the local runner into one that takes its tasks from the shared folder."""
        content = json.loads(site.read_text())
        (grant,) = validate_file(site.parent / "grant.yaml")
        del content["grant"]
        site.write_text(json.dumps({**content, "handover": "shared"}))
        grant["metadata"]["namespace"] = SPACE
        self.cluster.create(grant)
        settings = SiteSettings(
            namespace=SPACE,
            silo="west",
            exchange_url=content["exchange"]["url"],
            exchange_ca=Path(content["exchange"]["ca"]),
            hub_key=bytes.fromhex(content["hubKey"]),
            handover=site.parent / "shared",
            probes=("127.0.0.1", 0),
        )
        self.thread = threading.Thread(target=self._run, args=(settings,))
        self.thread.start()

    def _run(self, settings: SiteSettings) -> None:
        with site_operator(settings, self.cluster) as self.operator:
            self.operator.run()

    def stop(self) -> None:
        if self.operator is not None and self.thread is not None:
            self.operator.stop()
            self.thread.join(60)
            assert not self.thread.is_alive()


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hospital]:
    from fedgestalt.local import federation as module

    west, made = Hospital(Layout(tmp_path / "federation")), module.make_site

    def make_site(layout: Layout, name: str, **given: Any) -> Path:
        site = made(layout, name, **given)
        if name == "west":
            west.adopt(site)
        return site

    monkeypatch.setattr(module, "make_site", make_site)
    yield west
    west.stop()


def test_a_site_takes_part_through_its_operator_alone(tmp_path: Path, hospital: Hospital) -> None:
    outcome = federation(tmp_path, SILOS).run()
    assert outcome.phase == "Succeeded"
    assert "west" in outcome.manifest["roster"]
    tasks = {d["spec"]["kind"]: d["status"]["phase"] for d in hospital.cluster.list("SiloTask", SPACE)[0]}
    assert tasks["Enrol"] == tasks["Train"] == "Succeeded"
    grant = hospital.cluster.get("ParticipationGrant", SPACE, "local")
    assert grant["status"]["used"] == 1
    assert grant["status"]["conditions"][0]["reason"] == "Granted"
