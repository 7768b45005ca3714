"""Photos of invented syndromes with their HPO terms: what the small network's starting weights learn from."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .hpo import terms
from .photos import PhotoJob, derive_seed, write_atomically, write_photos
from .profiles import invented_profiles

LABELS = "labels.npz"


@dataclass(frozen=True)
class PretrainingSet:
    """Labelled photos of invented syndromes; n photos, h HPO terms.

    Attributes:
        folder: where the photos lie.
        images: (n,) paths relative to *folder*.
        patients: (n,) int32 patient numbers.
        profiles: (n,) int32 numbers of invented profiles.
        terms: (h,) CURIEs, the order of the columns of *severity*.
        severity: (n, h) float32 severity of each term, 0 where absent; `severity > 0` is the multi-label target.
        landmarks: (n, 5, 2) float32 true face points in pixels of the photo.
    """

    folder: Path
    images: tuple[str, ...]
    patients: NDArray[np.int32]
    profiles: NDArray[np.int32]
    terms: tuple[str, ...]
    severity: NDArray[np.float32]
    landmarks: NDArray[np.float32]


def render_pretraining(
    n_profiles: int,
    patients: int,
    images_per_patient: int,
    seed: int,
    out: Path,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> PretrainingSet:
    """Render photos of patients with invented syndromes, none close to a syndrome of any tier.

    Args:
        n_profiles: how many invented syndromes.
        patients: patients in all, dealt to the syndromes in turn.
        images_per_patient: photos of each.
        seed: fixes every byte of the photos.
        out: folder to fill; an existing finished set of the same settings is replaced.
        workers: processes.
        progress: called with (photos written, photos in all).
    """
    profiles = invented_profiles(n_profiles, seed)
    columns = {curie: i for i, curie in enumerate(sorted(terms()))}
    (out / "photos").mkdir(parents=True, exist_ok=True)
    jobs = [
        PhotoJob(
            out / "photos" / f"{patient:05d}-{number}.jpg",
            tuple(profiles[patient % n_profiles].terms.items()),
            derive_seed("pretraining", seed, patient),
            number,
        )
        for patient in range(patients)
        for number in range(images_per_patient)
    ]
    severity = np.zeros((len(jobs), len(columns)), np.float32)
    landmarks = np.zeros((len(jobs), 5, 2), np.float32)
    for i, truth in enumerate(write_photos(jobs, workers)):
        landmarks[i] = truth.landmarks
        for curie, amount in truth.terms:
            severity[i, columns[curie]] = amount
        if progress is not None:
            progress(i + 1, len(jobs))
    owner = np.repeat(np.arange(patients, dtype=np.int32), images_per_patient)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=np.array([job.path.relative_to(out).as_posix() for job in jobs]),
        patients=owner,
        profiles=(owner % n_profiles).astype(np.int32),
        terms=np.array(list(columns)),
        severity=severity,
        landmarks=landmarks,
    )
    write_atomically(out / LABELS, buffer.getvalue())
    return load_pretraining(out)


def load_pretraining(folder: Path) -> PretrainingSet:
    """Read a set that `render_pretraining` finished.

    Raises:
        FileNotFoundError: no labels in *folder*; the set was not finished.
    """
    path = folder / LABELS
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: render the pretraining set into {folder} first")
    with np.load(path, allow_pickle=False) as archive:
        a = {name: archive[name] for name in archive.files}
    return PretrainingSet(
        folder=folder,
        images=tuple(str(name) for name in a["images"]),
        patients=a["patients"],
        profiles=a["profiles"],
        terms=tuple(str(name) for name in a["terms"]),
        severity=a["severity"],
        landmarks=a["landmarks"],
    )
