"""The hub's loop with its federation as a process of its own, so that it can be killed and started again.

    python driver.py --driver CONFIG

The configuration is JSON: ``folder``, ``silos``, ``seed``, ``rounds``, ``workload`` (options of the numeric workload),
``straggler`` and ``start`` (seconds) and, for bad links, ``link``. What came out is written to ``outcome.json`` in the folder.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import numeric_federation  # noqa: E402
from link_proxy import Link, LinkProxy  # noqa: E402

from fedgestalt.files import write_atomic  # noqa: E402
from fedgestalt.local.federation import LocalFederation  # noqa: E402


class BadlyConnected(LocalFederation):
    """Each silo reaches the exchange through a link of its own."""

    links: Mapping[str, LinkProxy] | None = None

    def _start_agent(self, name: str) -> None:
        if self.links is not None:
            site = self._layout.silo(name) / "site.json"
            content = json.loads(site.read_text())
            port = int(content["exchange"]["url"].rpartition(":")[2])
            content["exchange"]["url"] = f"https://127.0.0.1:{self.links[name].open(port)}"
            write_atomic(site, json.dumps(content).encode())
        super()._start_agent(name)


def main() -> None:
    config = json.loads(Path(sys.argv[sys.argv.index("--driver") + 1]).read_text())
    folder, silos = Path(config["folder"]), config["silos"]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    cohorts = {name: folder / "cohorts" / name for name in silos}
    for name, path in cohorts.items():
        if not (path / "manifest.csv").exists():
            with contextlib.suppress(FileExistsError):
                numeric_federation.write_cohort(path, name, config["seed"])
    federation = BadlyConnected(
        numeric_federation.document(
            silos,
            rounds=config["rounds"],
            quorum={"minSilos": 3, "stragglerTimeout": config["straggler"]},
            deadlines={"start": config["start"], "active": 600},
        ),
        workdir=folder / "federation",
        cohorts=cohorts,
        vocabulary=numeric_federation.VOCABULARY,
        seed=config["seed"],
        workload=[sys.executable, str(HERE / "numeric_workload.py"), *config["workload"]],
    )
    if config["link"] is not None:
        federation.links = {name: LinkProxy(Link(**config["link"])) for name in silos}
    seen: list[Any] = []

    def on_status(status: Mapping[str, Any]) -> None:
        summary = status["summary"]
        if seen != [summary]:
            seen[:] = [summary]
            logging.info("%s | %s | %s", status.get("phase"), summary["progress"], summary["waiting"])

    outcome = federation.run(on_status)
    sent = {name: proxy.passed["up"] for name, proxy in (federation.links or {}).items()}
    cuts = {name: proxy.cuts for name, proxy in (federation.links or {}).items()}
    content = {
        "phase": outcome.phase,
        "status": outcome.status,
        "manifest": outcome.manifest,
        "score": outcome.score,
        "sent": sent,
        "cuts": cuts,
        "seconds": outcome.wall_seconds,
    }
    write_atomic(folder / "outcome.json", json.dumps(content, default=str).encode())


if __name__ == "__main__":
    main()
