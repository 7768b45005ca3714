"""Two rounds at one site at once: each has a trainer's link of its own."""

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from fedgestalt.files import private_directory
from fedgestalt.secagg.messages import FaultReason
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.models import GlobalModel
from fedgestalt.silo.part import RoundPart
from fedgestalt.silo.results import Results
from fedgestalt.silo.workloads import Workloads
from fedgestalt.training.link import AgentLink


class Part:
    """A round whose models stand at a known t, which tells the rounds apart."""

    def __init__(self, t: int) -> None:
        self.lock = threading.Lock()
        self.course = SimpleNamespace(known=lambda: {"m0": GlobalModel(t, {}, "")})
        self.session = SimpleNamespace(roster=("east", "west"), computation=SimpleNamespace(digest=bytes(32)))

    def fault(self, reason: FaultReason, detail: str) -> None:
        raise AssertionError(f"{reason}: {detail}")


def workloads(site: Path, uid: str, t: int) -> Workloads:
    config = SimpleNamespace(
        directory=site,
        work=site / "work",
        datasets={"faces": site},
        seed_file=site / "seed",
        withdrawn=site / "withdrawn.json",
        workload=(sys.executable, "-c", "pass"),
    )
    spec: dict[str, Any] = {"training": {"resources": {}}, "dataset": "faces"}
    return Workloads(
        cast(SiteConfig, config),
        cast(RoundPart, Part(t)),
        cast(Results, SimpleNamespace(rows=None, bundle=site / "bundle")),
        spec=spec,
        vocabulary={},
        start=None,
        directory=private_directory(site / "work" / uid),
    )


def test_two_rounds_at_once_each_have_a_link_of_their_own_however_deep_the_site_lies(tmp_path: Path) -> None:
    site = private_directory(tmp_path / ("d" * 100))
    rounds = {uid: workloads(site, uid, t) for t, uid in enumerate(("5f0c2d7e", "0a1b2c3d"), start=1)}
    try:
        for one in rounds.values():
            one.start("Train")
        for t, uid in enumerate(rounds, start=1):
            with AgentLink(site / "work" / uid / "link.sock") as link:
                assert link.resume()["m0"].t == t
        rounds["5f0c2d7e"].finish(released=True)
        with AgentLink(site / "work" / "0a1b2c3d" / "link.sock") as link:
            assert link.resume()["m0"].t == 2
    finally:
        for one in rounds.values():
            one.stop()
