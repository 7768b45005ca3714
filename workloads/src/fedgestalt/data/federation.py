"""Synthetic hospitals on disk: one cohort per silo, each with patients and a camera of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from fedgestalt.files import write_atomic

from .cohort import Cohort, Photo, Role
from .errors import CohortError
from .linking import link_or_copy
from .manifest import load_cohort, write_cohort
from .partition import Patient, Split, deal, silo_names
from .synthdysm.photos import PhotoJob, write_photos
from .synthdysm.population import NEUTRAL, shifted
from .tiers import plan_patients, syndromes
from .undiagnosed import choose, write_truth

MILD_SHIFT: Final = 0.5
COHORT_GAIN: Final = 1.8
"""Severity of features in cohorts: patients whom a specialist would recognise by their gestalt."""
VOCABULARY: Final = "vocabulary.json"
Progress = Callable[[int, int], None]


def make_federation(
    out: Path,
    *,
    tier: str,
    silos: int,
    split: str,
    seed: int,
    shift: float = MILD_SHIFT,
    undiagnosed: float = 0.0,
    workers: int = 2,
    progress: Progress | None = None,
) -> list[Cohort]:
    """Render a tier's patients into ``out/<silo>/`` and write ``out/vocabulary.json``.

    An interrupted call goes on where it stopped: photos that exist are kept, for they are functions of the arguments.

    Args:
        out: folder of the federation.
        tier: tiny, demo or full.
        silos: how many.
        split: see `partition.Split.parse`.
        seed: fixes every byte.
        shift: strength of the silos' differences in ancestry, age and camera; 0 for none.
        undiagnosed: of the rare syndromes, so many are held out, see `undiagnosed.choose`; the truth stands in
            ``out/undiagnosed.json``.
        workers: processes.
        progress: called with (photos done, photos in all).

    Raises:
        ValueError: an argument is out of range.
        CohortError: ``out`` holds a federation of other settings.
    """
    names, scheme = silo_names(silos), Split.parse(split)
    planned = plan_patients(tier, seed)
    homes = deal([patient.to_deal() for patient in planned], silos, scheme, seed)
    settings = {"tier": tier, "silos": silos, "split": str(scheme), "seed": seed, "shift": shift}
    nameless = choose(planned, undiagnosed, seed)
    if nameless.names:  # cohorts without are named as ever
        settings["undiagnosed"] = undiagnosed
    _claim(out, settings)
    populations = [NEUTRAL if shift == 0 else shifted(i, seed, shift) for i in range(silos)]
    jobs: list[PhotoJob] = []
    photos: dict[str, list[Photo]] = {name: [] for name in names}
    for patient in planned:
        home = homes[patient.name]
        hidden = nameless.names.get(patient.name)
        for number in range(patient.photos):
            image = Path("photos") / f"{hidden or patient.name}-{number}.jpg"
            photos[names[home]].append(
                Photo(image, patient.name, patient.syndrome.name, patient.role, patient.test_splits)
                if hidden is None
                else Photo(image, hidden, None, Role.UNDIAGNOSED)
            )
            profile = tuple(patient.syndrome.profile.terms.items())
            jobs.append(
                PhotoJob(
                    out / names[home] / image, profile, patient.seed, number, populations[home], COHORT_GAIN
                )
            )
    for name in names:
        (out / name / "photos").mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if not job.path.exists()]
    done = len(jobs) - len(missing)
    for _ in write_photos(missing, workers):
        done += 1
        if progress is not None:
            progress(done, len(jobs))
    sources = {s.name: s.profile.source for s in syndromes(tier)}
    cohorts = [
        Cohort(
            out / name,
            name,
            tuple(photos[name]),
            True,
            {"generator": "SynthDysm", **settings, "profiles": sources},
        )
        for name in names
    ]
    for cohort in cohorts:
        write_cohort(cohort)
    if nameless.names:
        write_truth(out, nameless, planned)
    _write_vocabulary(out, cohorts)
    return cohorts


def partition_cohort(source: Path, out: Path, *, silos: int, split: str, seed: int) -> list[Cohort]:
    """Deal an existing cohort's patients to silos: files are linked where the file system allows, else copied.

    Raises:
        CohortError: the source is unusable, or ``out`` holds something else.
        ValueError: an argument is out of range.
    """
    cohort = load_cohort(source)
    names, scheme = silo_names(silos), Split.parse(split)
    rare = set(cohort.rare)
    patients = {p.patient: Patient(p.patient, p.syndrome or "", p.syndrome in rare) for p in cohort.photos}
    homes = deal(list(patients.values()), silos, scheme, seed)
    _claim(out, {"source": cohort.name, "silos": silos, "split": str(scheme), "seed": seed})
    parts = []
    for i, name in enumerate(names):
        mine = tuple(photo for photo in cohort.photos if homes[photo.patient] == i)
        for photo in mine:
            link_or_copy(source / photo.image, out / name / photo.image)
        part = Cohort(out / name, name, mine, cohort.synthetic, {**cohort.provenance, "partOf": cohort.name})
        (out / name).mkdir(parents=True, exist_ok=True)
        write_cohort(part)
        parts.append(part)
    _write_vocabulary(out, parts)
    return parts


def load_federation(out: Path) -> dict[str, Cohort]:
    """The cohorts below a folder, by silo, without decoding every photo again.

    Raises:
        CohortError: there is none, or one is unusable.
    """
    folders = sorted(path.parent for path in out.glob("*/manifest.*"))
    if not folders:
        raise CohortError(
            out, ["no silo's cohort in it; make one with `fedgestalt synth` or `fedgestalt cohort partition`"]
        )
    return {folder.name: load_cohort(folder, check_images=False) for folder in folders}


def vocabulary_bytes(trained: set[str], rare: set[str]) -> bytes:
    """A federation's syndromes as canonical JSON: what a round's vocabulary digest covers."""
    content = {"trained": sorted(trained), "rare": sorted(rare)}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _write_vocabulary(out: Path, cohorts: list[Cohort]) -> None:
    trained = {syndrome for cohort in cohorts for syndrome in cohort.trained}
    rare = {syndrome for cohort in cohorts for syndrome in cohort.rare}
    write_atomic(out / VOCABULARY, vocabulary_bytes(trained, rare), mode=0o644)


def _claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to mix two federations in one folder."""
    path = out / "federation.json"
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise CohortError(out, [f"federation.json is damaged ({error}); remove the folder"]) from error
        if found != dict(settings):
            held = ", ".join(f"{name} {value}" for name, value in found.items())
            raise CohortError(out, [f"holds another federation ({held}); give another folder or remove it"])
        return
    write_atomic(path, json.dumps(dict(settings)).encode(), mode=0o644)


__all__ = [
    "load_federation",
    "make_federation",
    "partition_cohort",
    "vocabulary_bytes",
]
