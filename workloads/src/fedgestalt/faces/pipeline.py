"""From photo files to aligned crops, through the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedgestalt.faces.align import SIDE, align
from fedgestalt.faces.cache import Face, FaceCache
from fedgestalt.faces.detect import Detector, default_detector
from fedgestalt.faces.photo import PhotoError, decode, read_bytes

Progress = Callable[[int, int], None]
_MAX_LISTED = 20


@dataclass(frozen=True)
class AlignedFaces:
    """What ``prepare`` made of a list of photos.

    Attributes:
        images: uint8 ``[N, 112, 112, 3]``, RGB.
        index: int64 ``[N]``, increasing: row n comes from ``photos[index[n]]``.
        scores: float32 ``[N]``, the detector's probability.
        faces: int64 ``[N]``, how many faces the photo had; the largest was taken.
        not_found: the photos in which no face was found.
    """

    images: NDArray[np.uint8]
    index: NDArray[np.int64]
    scores: NDArray[np.float32]
    faces: NDArray[np.int64]
    not_found: tuple[Path, ...]


def prepare(
    photos: Sequence[Path],
    cache: Path,
    batch: int = 64,
    progress: Progress | None = None,
    detector: Detector | None = None,
) -> AlignedFaces:
    """Detect, align and cache the most prominent face of every photo.

    Args:
        photos: files in any order; a file may occur more than once.
        cache: a folder of the silo's own; made if absent.
        batch: photos searched together.
        progress: called with (photos done, photos in all).
        detector: this process's own if None.

    Raises:
        PhotoError: photos that cannot be read or decoded, all of them listed. Those before and after them are
        in
            the cache, so that mending and repeating costs little.
    """
    store = FaceCache(cache)
    results: list[Face | None] = [None] * len(photos)
    errors: list[str] = []
    pending: list[tuple[int, str, NDArray[np.uint8]]] = []
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None and count:
            progress(done, len(photos))

    def flush() -> None:
        nonlocal pending
        part, pending = pending, []
        for (i, key, _), face in zip(
            part, _faces([image for _, _, image in part], batch, detector), strict=True
        ):
            store.put(key, face)
            results[i] = face
        report(len(part))

    hits = 0
    for i, path in enumerate(photos):
        try:
            data = read_bytes(path)
            key = store.key(data)
            known, face = store.get(key)
            if known:
                results[i] = face
                hits += 1
            else:
                pending.append((i, key, decode(data, str(path))))
        except PhotoError as error:
            errors.append(str(error))
            hits += 1
        if len(pending) >= 2 * batch:
            flush()
        if hits >= batch:
            report(hits)
            hits = 0
    flush()
    report(hits)
    if errors:
        more = f"\n  and {len(errors) - _MAX_LISTED} more" if len(errors) > _MAX_LISTED else ""
        listed = "\n  ".join(errors[:_MAX_LISTED])
        raise PhotoError(f"{len(errors)} of {len(photos)} photos cannot be used:\n  {listed}{more}")
    return _collect(photos, results)


def align_photos(
    images: Sequence[NDArray[np.uint8]], batch: int = 64, detector: Detector | None = None
) -> list[Face | None]:
    """Detect and align photos that are already in memory (RGB, uint8 ``[H, W, 3]``), without a cache."""
    return _faces(images, batch, detector)


def _faces(images: Sequence[NDArray[np.uint8]], batch: int, detector: Detector | None) -> list[Face | None]:
    detections = (detector or default_detector()).detect(images, batch)
    return [
        None if found is None else Face(align(image, found.landmarks), found.score, found.faces)
        for image, found in zip(images, detections, strict=True)
    ]


def _collect(photos: Sequence[Path], results: Sequence[Face | None]) -> AlignedFaces:
    found = [(i, face) for i, face in enumerate(results) if face is not None]
    images = np.empty((len(found), SIDE, SIDE, 3), dtype=np.uint8)
    for row, (_, face) in enumerate(found):
        images[row] = face.pixels
    return AlignedFaces(
        images=images,
        index=np.array([i for i, _ in found], dtype=np.int64),
        scores=np.array([face.score for _, face in found], dtype=np.float32),
        faces=np.array([face.faces for _, face in found], dtype=np.int64),
        not_found=tuple(photo for photo, face in zip(photos, results, strict=True) if face is None),
    )
