"""The arms that a federation is measured against, on the very same photos, lists, epochs and seeds.

Centralised pools what hospitals may not pool, local-only is each hospital alone, start is the ensemble before any training.
They exist only on a machine that holds all cohorts: in demonstrations on synthetic photos.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedgestalt.data import SPLITS
from fedgestalt.data.federation import VOCABULARY
from fedgestalt.evaluation import EvaluationTable, Layout, evaluate_plaintext, pool
from fedgestalt.files import write_atomic
from fedgestalt.processes import available_cores
from fedgestalt.training.baselines import Tensors, for_pool, pooled, train_alone
from fedgestalt.training.ensembles import build_ensemble
from fedgestalt.training.parsing import parse_training
from fedgestalt.training.photos import CohortFaces, load_faces

CENTRAL_BATCH = 32
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Pool:
    """All silos' faces, loaded once for all arms."""

    silos: Mapping[str, CohortFaces]
    layout: Layout
    seed: int

    @classmethod
    def load(
        cls,
        cohorts: Mapping[str, Path],
        caches: Mapping[str, Path],
        vocabulary: Mapping[str, Sequence[str]],
        *,
        replicates: int,
        splits: int,
        seed: int,
    ) -> Pool:
        """Read every silo's cohort; aligned faces come from the silos' own caches where they are."""
        faces = {name: load_faces(path, caches[name]) for name, path in sorted(cohorts.items())}
        layout = Layout(
            tuple(sorted(vocabulary["trained"])), tuple(sorted(vocabulary["rare"])), splits, replicates
        )
        return cls(faces, layout, seed)

    def evaluate(self, training: Mapping[str, Any], tensors: Tensors, public_seed: bytes) -> EvaluationTable:
        """Encode every photo with the ensemble of ``tensors`` and rank by plain cosine."""
        ensemble = build_ensemble(parse_training(training), tensors, public_seed)
        embeddings = np.concatenate([ensemble.encode(faces.images) for faces in self.silos.values()])
        photos = [photo for faces in self.silos.values() for photo in faces.photos]
        return evaluate_plaintext(
            embeddings,
            [photo.syndrome for photo in photos],
            [photo.patient for photo in photos],
            [str(photo.role) for photo in photos],
            [photo.test_splits for photo in photos],
            self.layout,
            seed=self.seed,
        )


def start(faces: Pool, training: Mapping[str, Any], public_seed: bytes) -> EvaluationTable:
    """The ensemble as it is before training."""
    return faces.evaluate(training, {}, public_seed)


def centralised(
    faces: Pool, training: Mapping[str, Any], public_seed: bytes, seed: int, progress: Progress | None = None
) -> EvaluationTable:
    """One training on the photos of all silos."""
    silos = [silo.training_data(faces.layout.trained) for silo in faces.silos.values()]
    config = for_pool(parse_training(training), silos, batch_size=CENTRAL_BATCH)
    tensors = train_alone(config, pooled(silos), seed=seed, arm="centralised", progress=progress)
    return faces.evaluate(training, tensors, public_seed)


def local_only(
    faces: Pool, training: Mapping[str, Any], public_seed: bytes, seed: int, progress: Progress | None = None
) -> EvaluationTable:
    """Each silo alone: its model encodes the whole gallery and all tests; the mean over silos."""
    config = parse_training(training)
    tables = []
    for i, (name, silo) in enumerate(faces.silos.items()):

        def told(member: str, part: float, i: int = i, name: str = name) -> None:
            if progress is not None:
                progress(name, (i + part) / len(faces.silos))

        data = silo.training_data(faces.layout.trained)
        tables.append(
            faces.evaluate(
                training, train_alone(config, data, seed=seed, arm=name, progress=told), public_seed
            )
        )
    return pool(tables)


def shuffled(faces: Pool, training: Mapping[str, Any], public_seed: bytes, seed: int) -> EvaluationTable:
    """The control: syndromes permuted over patients in training, gallery and test. Anything above chance is a defect."""
    rng = np.random.default_rng([seed, 0x5AFF1E])
    by_group: dict[bool, list[tuple[str, str]]] = {}
    for silo in faces.silos.values():
        for photo in silo.photos:
            if photo.syndrome:
                by_group.setdefault(str(photo.role) == "rotating", []).append((photo.patient, photo.syndrome))
    renamed: dict[str, str] = {}
    for pairs in by_group.values():
        patients = dict(pairs)
        labels = list(patients.values())
        order = rng.permutation(len(labels))
        renamed.update({patient: labels[order[i]] for i, patient in enumerate(patients)})
    silos = {
        name: CohortFaces(
            silo.images,
            tuple(
                replace(photo, syndrome=renamed[photo.patient]) if photo.syndrome else photo
                for photo in silo.photos
            ),
        )
        for name, silo in faces.silos.items()
    }
    return centralised(Pool(silos, faces.layout, faces.seed), training, public_seed, seed)


def run_arm(task: Mapping[str, Any], told: Connection) -> None:
    """Work on one arm and write its table; the entry point of a process of its own.

    Args:
        task: arm, training section, evaluation section, cohorts, silos, caches, seed, out.
        told: gets (fraction, detail) as the work goes on; closed at the end.
    """
    torch.set_num_threads(available_cores())
    cohorts = Path(task["cohorts"])
    vocabulary = json.loads((cohorts / VOCABULARY).read_text())
    faces = Pool.load(
        {name: cohorts / name for name in task["silos"]},
        {name: Path(path) for name, path in task["caches"].items()},
        vocabulary,
        replicates=task["evaluation"]["bootstrapReplicates"],
        splits=SPLITS,
        seed=task["evaluation"]["seed"],
    )
    training, seed = task["training"], task["seed"]
    public = hashlib.sha256(f"fedgestalt arms {seed}".encode()).digest()

    def progress(detail: str, fraction: float) -> None:
        told.send((fraction, detail))

    match task["arm"]:
        case "start":
            table = start(faces, training, public)
        case "centralised":
            table = centralised(faces, training, public, seed, progress)
        case "local_only":
            table = local_only(faces, training, public, seed, progress)
        case "shuffled":
            table = shuffled(faces, training, public, seed)
        case other:
            raise ValueError(f"unknown arm {other!r}")
    write_table(Path(task["out"]), table)
    told.close()


def write_table(path: Path, table: EvaluationTable) -> None:
    """Keep a table with its bootstrap replicates, which ratios need for their intervals."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, values=table.values, replicates=table.replicates)
    write_atomic(path, buffer.getvalue(), mode=0o644)


def read_table(path: Path) -> EvaluationTable:
    """What :func:`write_table` wrote."""
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        return EvaluationTable.of_replicates(file["values"], file["replicates"])
