"""The silo's own diagnosed cases, matched here and shown apart from the federation's."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake import FlakeError, unit_rows
from fedgestalt.serving.documents import ReleaseError

_FIELDS: Final = ("embeddings", "syndromes", "handles")
_HANDLE_BYTES: Final = 16


@dataclass(frozen=True)
class NearestCase:
    """A syndrome and its nearest photo in the own gallery.

    Attributes:
        syndrome: CURIE.
        cosine: with the photo asked for; stays in this process, answers carry the band.
        handle: the photo's opaque handle, 16 bytes.
    """

    syndrome: str
    cosine: float
    handle: bytes


class LocalGallery:
    """Unit embeddings of the silo's diagnosed photos, their syndromes and handles."""

    def __init__(
        self, embeddings: NDArray[np.float64], syndromes: NDArray[np.str_], handles: NDArray[np.uint8]
    ) -> None:
        """
        Args:
            embeddings: ``[n, d]``, rows of length one.
            syndromes: ``[n]``, CURIEs.
            handles: ``[n, 16]``.

        Raises:
            FlakeError: a row that has not length one.
            ValueError: shapes or types that do not go together.
        """
        self._embeddings = unit_rows(embeddings, "gallery rows")
        count = len(self._embeddings)
        if syndromes.shape != (count,) or syndromes.dtype.kind != "U":
            raise ValueError(f"syndromes must be text of shape ({count},)")
        if handles.shape != (count, _HANDLE_BYTES) or handles.dtype != np.uint8:
            raise ValueError(f"handles must be uint8 of shape ({count}, {_HANDLE_BYTES})")
        self._names, self._of = np.unique(syndromes, return_inverse=True)
        self._handles = handles

    @property
    def size(self) -> int:
        """How many photos."""
        return len(self._embeddings)

    @property
    def dim(self) -> int:
        """Numbers of an embedding."""
        return int(self._embeddings.shape[1])

    @property
    def syndromes(self) -> tuple[str, ...]:
        """The CURIEs that occur, sorted."""
        return tuple(map(str, self._names))

    def nearest(self, embedding: NDArray[np.float64], top: int = 30) -> tuple[NearestCase, ...]:
        """The syndromes by their nearest photo (the gallery protocol's score), best first; ties by CURIE.

        Args:
            embedding: ``[d]``, of length one.
            top: how many at most.
        """
        cosines = self._embeddings @ embedding
        order = np.lexsort((-cosines, self._of))  # by syndrome, nearest photo first
        nearest = order[np.unique(self._of[order], return_index=True)[1]]
        ranked = nearest[np.argsort(-cosines[nearest], kind="stable")][:top]
        return tuple(
            NearestCase(str(self._names[self._of[row]]), float(cosines[row]), self._handles[row].tobytes())
            for row in ranked
        )


class GalleryFile:
    """``gallery.npz``, read again when it was replaced: a case that is withdrawn must not be found any more.

    Not safe for threads that ask at once.
    """

    def __init__(self, path: Path, dim: int) -> None:
        """``dim``: numbers of an embedding.

        Raises:
            ReleaseError: see `current`.
        """
        self._path, self._dim = path, dim
        self._seen: tuple[int, int, int] | None = None
        self._gallery: LocalGallery
        self.current()

    @property
    def size(self) -> int:
        """How many photos there were when it was last read."""
        return self._gallery.size

    def current(self) -> LocalGallery:
        """The gallery as it is now.

        Raises:
            ReleaseError: it is absent, damaged or of another width.
        """
        try:
            found = self._path.stat()
        except OSError as error:
            raise ReleaseError(f"{self._path}: {error.strerror}. Fetch the release again.") from error
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            gallery = load_gallery(self._path)
            if gallery.dim != self._dim:
                raise ReleaseError(
                    f"{self._path}: {gallery.dim} numbers a row where the bundle's embedding has {self._dim}. "
                    "Encode the site's cases again with this release."
                )
            self._gallery, self._seen = gallery, seen
        return self._gallery


def load_gallery(path: Path) -> LocalGallery:
    """Read ``gallery.npz``; nothing in it is unpickled.

    Raises:
        ReleaseError: absent, damaged, or fields that do not go together.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return LocalGallery(*(archive[name] for name in _FIELDS))
    except OSError as error:
        raise ReleaseError(
            f"{path}: {error.strerror or 'cannot be read'}. Fetch the release again."
        ) from error
    except (KeyError, ValueError, FlakeError, zipfile.BadZipFile) as error:
        raise ReleaseError(f"{path}: not a gallery ({error}). Encode the site's cases again.") from error
