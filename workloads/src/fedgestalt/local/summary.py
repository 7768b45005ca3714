"""From a finished demonstration to its report: what happened, who sent how much, whose faces look alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fedgestalt
from fedgestalt.data import Cohort, Role
from fedgestalt.data import Photo as CohortPhoto
from fedgestalt.data.federation import load_federation
from fedgestalt.faces import decode
from fedgestalt.local.demo import Demo, DemoResult
from fedgestalt.report import (
    Aggregation,
    CohortFacts,
    LookAlikes,
    Neighbour,
    Photo,
    ReportInput,
    SiloFacts,
    write_report,
)
from fedgestalt.silo.models import ModelStore
from fedgestalt.training.ensembles import build_ensemble
from fedgestalt.training.parsing import parse_training
from fedgestalt.training.photos import CohortFaces, load_faces

LOOK_ALIKES = 3
NEIGHBOURS = 4
MONTAGE = 24


def write_demo_report(demo: Demo, result: DemoResult, command: str) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` into the demonstration's folder."""
    cohorts = load_federation(demo.cohorts)
    manifest = result.outcome.manifest or {}
    settings = demo.settings
    rare = {syndrome for cohort in cohorts.values() for syndrome in cohort.rare}
    trained = {syndrome for cohort in cohorts.values() for syndrome in cohort.trained}
    first = next(iter(cohorts.values()))
    report = ReportInput(
        cohort=CohortFacts(
            name="SynthDysm" if first.synthetic else Path(settings.data).name,
            synthetic=first.synthetic,
            split=settings.split,
            frequent_syndromes=len(trained),
            rare_syndromes=len(rare),
            patients=sum(len(cohort.patients) for cohort in cohorts.values()),
            photos=sum(len(cohort.photos) for cohort in cohorts.values()),
        ),
        arms=result.arms,
        silos=tuple(_silo(demo, name, cohort, result) for name, cohort in sorted(cohorts.items())),
        model_sha256=_final_model(manifest),
        seed=settings.seed,
        wall_seconds=result.wall_seconds,
        peak_rss_mib=result.peak_rss_mib,
        created=datetime.now(UTC).replace(microsecond=0),
        stage_seconds=result.stage_seconds,
        aggregations=_aggregations(manifest),
        versions={"fedgestalt": fedgestalt.__version__, "protocol": "1"},
        montage=_montage(cohorts) if first.synthetic else (),
        commands=(command, "make evaluate-demo"),
    )
    return write_report(demo.out, report)


def _final_model(manifest: dict[str, Any] | Any) -> str:
    return next(str(member["model"]) for member in manifest["members"] if member["trainable"])


def _aggregations(manifest: Any) -> tuple[Aggregation, ...]:
    return tuple(
        Aggregation(member["name"], t["t"], tuple(t["survivors"]), t["model"])
        for member in manifest["members"]
        if member["trainable"]
        for t in member["rounds"]
        if not t.get("skipped")
    )


def _silo(demo: Demo, name: str, cohort: Cohort, result: DemoResult) -> SiloFacts:
    roster = (result.outcome.manifest or {}).get("roster", {})
    photos = {role.value: sum(photo.role is role for photo in cohort.photos) for role in Role}
    return SiloFacts(
        name,
        int(roster.get(name, {}).get("weight", 0)),
        {role: count for role, count in photos.items() if count},
        _bytes_sent(demo.workdir / "silos" / name),
        _look_alikes(demo, name, cohort, result) if cohort.synthetic else (),
    )


def _bytes_sent(silo: Path) -> dict[str, int]:
    """What the silo's spool holds is what it uploaded; rows are the blob that carries the row encoding's name."""
    sent = {"masked updates": 0, "masked rows": 0}
    for path in silo.glob("work/*/spool/*"):
        with path.open("rb") as file:
            kind = "masked rows" if b"flake-rows" in file.read(256) else "masked updates"
        sent[kind] += path.stat().st_size
    return sent


def _look_alikes(demo: Demo, name: str, cohort: Cohort, result: DemoResult) -> tuple[LookAlikes, ...]:
    """A few of the silo's own test photos with its own nearest gallery photos, by the federated extractor."""
    silo = demo.workdir / "silos" / name
    faces = load_faces(cohort.root, silo / "work" / "faces")
    (models,) = silo.glob("work/*/models")
    training = result.document["spec"]["training"]
    config = parse_training(training)
    stored = {member.name: ModelStore(models).get(member.name) for member in config.trainable}
    tensors = {member: model.tensors for member, model in stored.items() if model is not None}
    public = bytes.fromhex((result.outcome.manifest or {})["computation"])
    embeddings = build_ensemble(config, tensors, public).encode(faces.images)
    gallery = [i for i, photo in enumerate(faces.photos) if photo.role is Role.TRAIN]
    tests = [i for i, photo in enumerate(faces.photos) if photo.role is Role.TEST]
    step = max(1, len(tests) // LOOK_ALIKES)
    return tuple(_case(name, faces, embeddings, test, gallery) for test in tests[::step][:LOOK_ALIKES])


def _case(
    name: str, faces: CohortFaces, embeddings: NDArray[np.float64], test: int, gallery: Sequence[int]
) -> LookAlikes:
    order = np.argsort(-(embeddings[list(gallery)] @ embeddings[test]), kind="stable")[:NEIGHBOURS]

    def shown(i: int) -> Photo:
        return Photo(name, faces.images[i], faces.photos[i].syndrome or "")

    nearest = [gallery[int(k)] for k in order]
    return LookAlikes(
        shown(test), tuple(Neighbour(faces.photos[i].syndrome or "", shown(i)) for i in nearest)
    )


def _montage(cohorts: dict[str, Cohort]) -> tuple[Photo, ...]:
    """Photos of different syndromes and silos, evenly drawn."""
    every: list[tuple[str, Cohort, CohortPhoto]] = [
        (name, cohort, photo) for name, cohort in sorted(cohorts.items()) for photo in cohort.photos
    ]
    chosen = every[:: max(1, len(every) // MONTAGE)][:MONTAGE]
    pictures = []
    for name, cohort, photo in chosen:
        path = cohort.root / photo.image
        pictures.append(Photo(name, decode(path.read_bytes(), str(path)), photo.syndrome or ""))
    return tuple(pictures)
