"""Render photos of synthetic patients in parallel; the result does not depend on the number of workers."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import encode_jpeg
from .capture import sample_photo
from .hpo import GAIN, Phenotype, apply_phenotype, sample_phenotype
from .identity import sample_identity
from .population import NEUTRAL, Population
from .render import Picture, render

PHOTO_SIZE = 160
"""Width and height of written photos, pixels: room for detection and alignment to 112."""


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from anything with a stable text form; independent of order of work and platform."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class PhotoJob:
    """One photo to write.

    Attributes:
        path: file to write.
        profile: (term, frequency) pairs; empty for an unaffected person.
        patient: seed of the patient: identity and phenotype.
        number: which photo of the patient.
        population: where the patient lives.
        gain: severity of features, 1 about as drawn by the annotations.
    """

    path: Path
    profile: tuple[tuple[str, float], ...]
    patient: int
    number: int
    population: Population = NEUTRAL
    gain: float = GAIN


@dataclass(frozen=True)
class PhotoTruth:
    """What is known about a written photo.

    Attributes:
        terms: present HPO terms with severities.
        landmarks: (5, 2) float32 pixels.
    """

    terms: tuple[tuple[str, float], ...]
    landmarks: NDArray[np.float32]


def draw_photo(job: PhotoJob, size: int = PHOTO_SIZE, supersample: int = 1) -> tuple[Picture, Phenotype, int]:
    """Render a job in memory; returns the picture, the patient's phenotype and the JPEG quality."""
    identity = sample_identity(np.random.default_rng([job.patient, 1]), job.population)
    phenotype = sample_phenotype(dict(job.profile), job.patient, job.gain)
    recipe = sample_photo(identity, np.random.default_rng([job.patient, 2, job.number]), job.population)
    apply_phenotype(recipe, phenotype)
    return render(recipe, size, supersample), phenotype, recipe.camera.jpeg


def write_atomically(path: Path, content: bytes) -> None:
    """Write *content* so that *path* is either absent or whole, even after a power cut."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_photo(job: PhotoJob) -> PhotoTruth:
    """Render a job and write its JPEG file."""
    picture, phenotype, quality = draw_photo(job)
    write_atomically(job.path, encode_jpeg(picture.pixels, quality))
    return PhotoTruth(phenotype.terms, picture.landmarks)


def _quiet_worker() -> None:
    cv2.setNumThreads(1)


def write_photos(jobs: Sequence[PhotoJob], workers: int) -> Iterator[PhotoTruth]:
    """Write all photos; yields in the order of *jobs* as they are done.

    Args:
        jobs: what to write; the folders must exist.
        workers: processes; 1 works in this one.

    Raises:
        ValueError: fewer than one worker.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if workers == 1 or len(jobs) < 8:
        for job in jobs:
            yield write_photo(job)
        return
    # Spawned, not forked: the caller may hold threads (BLAS, Ray) that a fork would break.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_quiet_worker) as pool:
        yield from pool.map(write_photo, jobs, chunksize=8)
