"""The demonstration: synthetic hospitals, one federation round, the arms it is measured against, a report.

Every stage leaves files in the folder, so that an interrupted demonstration goes on: photos, the round's directories, and one
JSON file per arm.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from fedgestalt.data import CohortError
from fedgestalt.data.federation import VOCABULARY, load_federation, make_federation, partition_cohort
from fedgestalt.data.partition import Split, silo_names
from fedgestalt.evaluation import EvaluationTable
from fedgestalt.files import write_atomic
from fedgestalt.local.document import ROUNDS, baseline_training, demo_round
from fedgestalt.local.federation import FederationError, LocalFederation, Outcome
from fedgestalt.local.memory import PeakMemory
from fedgestalt.models.weights import find_weights
from fedgestalt_operator.kube.validate import validate

Report = Callable[[str, float | None, str], None]
"""Told of progress: stage, fraction (None: unknown), detail."""

ARMS = ("start", "centralised", "local_only")


@dataclass(frozen=True)
class DemoSettings:
    """What the demonstration was asked for; a folder made with other settings is refused."""

    tier: str = "demo"
    silos: int = 4
    split: str = "near-uniform"
    seed: int = 0
    workers: int = 0
    data: str = ""
    adopt: bool = False
    strategy: str = ""
    rounds: int = ROUNDS

    @property
    def dealt(self) -> int:
        """Hospitals that patients are dealt to: with ``adopt`` one more than train."""
        return self.silos + self.adopt


@dataclass(frozen=True)
class DemoResult:
    """Tables by arm, and what else a report needs."""

    arms: Mapping[str, EvaluationTable]
    outcome: Outcome
    document: Mapping[str, Any]
    stage_seconds: Mapping[str, float]
    wall_seconds: float
    peak_rss_mib: float


@dataclass(frozen=True)
class Adoption:
    """How a newcomer joined.

    Attributes:
        newcomer: its name.
        release: digest (hex) of the release that it is part of now.
        blocks: Gram blocks that the kernel computed: its tests against each hospital's gallery.
        seconds: of the whole round.
        table: its own test photos against all galleries; known to it alone.
    """

    newcomer: str
    release: str
    blocks: int
    seconds: float
    table: EvaluationTable


class Demo:
    """One demonstration in one folder."""

    def __init__(self, out: Path, settings: DemoSettings, report: Report = lambda *_: None) -> None:
        """
        Raises:
            FederationError: the folder holds a demonstration with other settings.
        """
        self.out, self.settings, self._report = out.resolve(), settings, report
        self.seconds: dict[str, float] = {}
        Split.parse(settings.split)  # before anything is written, so that a slip claims no folder
        silo_names(settings.dealt)
        if settings.data and not list(Path(settings.data).glob("manifest.*")):
            raise CohortError(Path(settings.data), ["no manifest.csv in it; see `fedgestalt cohort check`"])
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / "settings.json"
        if path.exists() and json.loads(path.read_text()) != asdict(settings):
            raise FederationError(
                f"{out} holds a demonstration with other settings. Give another --out, or remove that folder."
            )
        write_atomic(path, json.dumps(asdict(settings), indent=2).encode(), mode=0o644)
        measured = self.out / "stages.json"
        if measured.exists():
            self.seconds = json.loads(measured.read_text())

    @property
    def cohorts(self) -> Path:
        """Where the hospitals' photos are."""
        return self.out / "cohorts"

    @property
    def workdir(self) -> Path:
        """Where the federation's processes live."""
        return self.out / "federation"

    def run(self, *, arms: tuple[str, ...] = ARMS) -> DemoResult:
        """All stages.

        Raises:
            FederationError: the round did not end in Succeeded, or a process does not stay up.
            CohortError: ``--data`` cannot be used.
        """
        with PeakMemory() as memory:
            self._stage("photos", self._photos)
            document = self._document()
            outcome = self._stage("federated", lambda: self._federate(document))
            federated = outcome.table
            assert federated is not None
            tables = {"federated": federated}
            for arm in arms:
                tables[arm] = self._arm(arm, document)
        wall = round(sum(self.seconds.values()), 1)
        return DemoResult(tables, outcome, document, dict(self.seconds), wall, self._peak(memory.peak_mib))

    def _peak(self, mib: float) -> float:
        """The largest memory over all runs in this folder: a resumed one sees only its own stretch."""
        path = self.out / "peak.json"
        before = json.loads(path.read_text()) if path.exists() else 0.0
        peak = round(max(before, mib), 1)
        write_atomic(path, json.dumps(peak).encode(), mode=0o644)
        return peak

    def _stage(self, name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 1)
        write_atomic(self.out / "stages.json", json.dumps(self.seconds, indent=2).encode(), mode=0o644)
        return result

    def _photos(self) -> None:
        settings = self.settings
        if settings.data:
            partition_cohort(
                Path(settings.data),
                self.cohorts,
                silos=settings.dealt,
                split=settings.split,
                seed=settings.seed,
            )
            return
        make_federation(
            self.cohorts,
            tier=settings.tier,
            silos=settings.dealt,
            split=settings.split,
            seed=settings.seed,
            progress=lambda done, total: self._report("photos", done / total, f"{done} of {total} rendered"),
        )

    def _document(self) -> dict[str, Any]:
        """The round's document, written to ``round.yaml`` for the coordinator to read."""
        silos = sorted(load_federation(self.cohorts))[: self.settings.silos]
        vocabulary = (self.cohorts / VOCABULARY).read_bytes()
        document = demo_round(
            name=f"demo-{self.settings.tier}-{self.settings.seed}",
            silos=silos,
            vocabulary_digest=f"sha256:{hashlib.sha256(vocabulary).hexdigest()}",
            weights_digest=weights_digest,
            non_overlapping=self.settings.split != "near-uniform",
            tiny=self.settings.tier == "tiny",
            workers=self.settings.workers,
            strategy=self.settings.strategy,
            rounds=self.settings.rounds,
        )
        path, text = self.out / "round.yaml", yaml.safe_dump(document, sort_keys=False)
        if path.exists() and path.read_text() != text:
            raise FederationError(
                f"{path} is another round than this version would run: what was trained by it cannot be reported as this "
                "one's. Give another --out, or remove that folder."
            )
        write_atomic(path, text.encode(), mode=0o644)
        return validate(document, source=str(self.out / "round.yaml"))

    def _federate(self, document: Mapping[str, Any]) -> Outcome:
        done = self.out / "outcome.json"
        if done.exists():
            return Outcome(**json.loads(done.read_text()))
        silos = document["spec"]["silos"]
        federation = LocalFederation(
            document,
            workdir=self.workdir,
            cohorts={name: self.cohorts / name for name in silos},
            vocabulary=(self.cohorts / VOCABULARY).read_bytes(),
            seed=self.settings.seed,
        )
        outcome = federation.run(self._on_status)
        if outcome.phase != "Succeeded" or outcome.table is None:
            condition = next(c for c in outcome.status["conditions"] if c["type"] == "Succeeded")
            raise FederationError(
                f"the round failed: {condition['reason']}: {condition['message']} (logs in {self.workdir / 'logs'})"
            )
        write_atomic(done, json.dumps(asdict(outcome)).encode())
        return outcome

    def adopt(self, result: DemoResult) -> Adoption:
        """Let the hospital that did not train adopt the release: nothing is trained, only its rows are new.

        Raises:
            FederationError: the round did not end in Succeeded.
        """
        silos = sorted(load_federation(self.cohorts))
        newcomer = silos[-1]
        done = self.out / "adoption.json"
        if done.exists():
            content = json.loads(done.read_text())
            return Adoption(
                content["newcomer"],
                content["release"],
                content["blocks"],
                content["seconds"],
                EvaluationTable.from_json(content["table"]),
            )
        spec = result.document["spec"]
        kept = {name: spec[name] for name in ("purpose", "dataset", "quorum", "evaluation")}
        parent = str(result.outcome.status["releaseDigest"])
        base = {"release": result.document["metadata"]["name"], "digest": f"sha256:{parent}"}
        adopting = {
            **{name: result.document[name] for name in ("apiVersion", "kind")},
            "metadata": {"name": f"{base['release']}-adopt"},
            "spec": {"operation": "Adopt", "silos": silos, **kept, "base": base},
        }
        text = yaml.safe_dump(adopting, sort_keys=False)
        write_atomic(self.out / "round-adopt.yaml", text.encode(), mode=0o644)
        federation = LocalFederation(
            validate(adopting, source=str(self.out / "round-adopt.yaml")),
            workdir=self.workdir,
            cohorts={name: self.cohorts / name for name in silos},
            vocabulary=(self.cohorts / VOCABULARY).read_bytes(),
            seed=self.settings.seed,
        )
        outcome = self._stage("adopt", lambda: federation.run(self._on_adopting))
        if outcome.phase != "Succeeded":
            condition = next(c for c in outcome.status["conditions"] if c["type"] == "Succeeded")
            raise FederationError(f"the Adopt round failed: {condition['reason']}: {condition['message']}")
        release = str(outcome.status["releaseDigest"])
        score = self.workdir / "silos" / newcomer / "releases" / release / "own-score.json"
        jobs = (self.workdir / "hub" / "jobs").glob(f"fg-{outcome.uid[:8]}-kernel-*/result.json")
        blocks = sum(int(json.loads(path.read_text())["blocks"]) for path in jobs)
        content = {
            "newcomer": newcomer,
            "release": release,
            "blocks": blocks,
            "seconds": round(outcome.wall_seconds, 1),
            "table": json.loads(score.read_text()),
        }
        write_atomic(done, json.dumps(content).encode(), mode=0o644)
        return self.adopt(result)

    def _on_adopting(self, status: Mapping[str, Any]) -> None:
        summary = status.get("summary", {})
        parts = [status.get("phase", ""), summary.get("progress", ""), summary.get("waiting", "")]
        self._report("adopt", None, "  ".join(part for part in parts if part))

    def _on_status(self, status: Mapping[str, Any]) -> None:
        from fedgestalt.local.progress import overall_fraction

        summary = status.get("summary", {})
        parts = [status.get("phase", ""), summary.get("progress", ""), summary.get("waiting", "")]
        self._report("federated", overall_fraction(status), "  ".join(part for part in parts if part))

    def _arm(self, arm: str, document: Mapping[str, Any]) -> EvaluationTable:
        """One arm in a process of its own, so that its memory is gone afterwards; its table is kept with its replicates."""
        path = self.out / "arms" / f"{arm}.npz"
        if not path.exists():
            task = {
                "arm": arm,
                "training": baseline_training(document["spec"]["training"]),
                "evaluation": document["spec"]["evaluation"],
                "cohorts": str(self.cohorts),
                "silos": document["spec"]["silos"],
                "caches": {
                    name: str(self.workdir / "silos" / name / "work" / "faces")
                    for name in document["spec"]["silos"]
                },
                "seed": self.settings.seed,
                "out": str(path),
            }
            self._stage(arm, lambda: self._run_arm(task))
        from fedgestalt.local.arms import read_table

        return read_table(path)

    def _run_arm(self, task: Mapping[str, Any]) -> None:
        from fedgestalt.local.arms import run_arm

        context = multiprocessing.get_context("spawn")
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=run_arm, args=(dict(task), writer))
        process.start()
        writer.close()
        while True:
            try:
                fraction, detail = reader.recv()
            except EOFError:
                break
            self._report(task["arm"], fraction, detail)
        process.join()
        if process.exitcode != 0:
            raise FederationError(
                f"the arm {task['arm']} ended with exit code {process.exitcode}; its error is above"
            )


def weights_digest(name: str) -> str:
    """The digest of shipped weights, as a round's document pins it."""
    from fedgestalt.models.digest import file_digest

    return file_digest(find_weights(name))


__all__ = ["ARMS", "CohortError", "Demo", "DemoResult", "DemoSettings"]
