"""A silo's aligned photos with what its manifest says of them."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedgestalt.data import Photo, Role, load_cohort
from fedgestalt.faces import prepare

from .errors import DataError
from .loop import TrainingData

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CohortFaces:
    """Aligned faces, uint8 [N, 112, 112, 3] RGB, and the photos that they come from."""

    images: NDArray[np.uint8]
    photos: tuple[Photo, ...]

    def training_data(self, trained: Sequence[str]) -> TrainingData:
        """The photos that are trained on, with labels in the order of ``trained``.

        Raises:
            DataError: there is none.
        """
        place = {syndrome: i for i, syndrome in enumerate(trained)}
        rows = [
            i for i, photo in enumerate(self.photos) if photo.role is Role.TRAIN and photo.syndrome in place
        ]
        if not rows:
            raise DataError(
                "no photo with role train and a syndrome of the vocabulary: check the cohort's manifest"
            )
        labels = np.array([place[self.photos[i].syndrome or ""] for i in rows], dtype=np.int64)
        return TrainingData(self.images[rows], labels, tuple(trained))


def load_faces(
    cohort: Path,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    training_only: bool = False,
    excluded: Collection[str] = (),
) -> CohortFaces:
    """Read a cohort and align its faces. Photos without a face are logged by name and left out, ``excluded`` ones silently.

    Raises:
        CohortError, PhotoError: listing everything that is wrong with the cohort.
    """
    loaded = load_cohort(cohort)
    photos = [photo for photo in loaded.photos if photo.role is Role.TRAIN or not training_only]
    photos = [photo for photo in photos if str(photo.image) not in excluded]
    faces = prepare([loaded.root / photo.image for photo in photos], cache, progress=progress)
    if faces.not_found:
        names = ", ".join(path.name for path in faces.not_found[:20])
        more = f" and {len(faces.not_found) - 20} more" if len(faces.not_found) > 20 else ""
        log.warning(
            "%s: no face found in %d of %d photos: %s%s",
            loaded.root.name,
            len(faces.not_found),
            len(photos),
            names,
            more,
        )
    return CohortFaces(faces.images, tuple(photos[i] for i in faces.index))
