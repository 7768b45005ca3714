"""Aligned crops kept by content: the same photo under the same preprocessing is prepared once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedgestalt.faces.align import SIDE
from fedgestalt.faces.version import PREPROCESSING

_MAGIC = b"fedgestalt face 1\n"
_DIGEST_BYTES = 32
_PIXEL_BYTES = SIDE * SIDE * 3


@dataclass(frozen=True)
class Face:
    """An aligned face: uint8 ``[112, 112, 3]``, the detector's score and how many faces the photo had."""

    pixels: NDArray[np.uint8]
    score: float
    faces: int


class FaceCache:
    """One file per photo, readable by its owner alone. A photo without a face is remembered as well.

    Entries appear whole (written aside, then renamed) and carry a checksum: one that a crash or a full disk
    damaged counts as absent and is made again, so that no write has to wait for the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @staticmethod
    def key(photo: bytes) -> str:
        """SHA-256, in hex, over the preprocessing version and the photo file's bytes."""
        return hashlib.sha256(PREPROCESSING.encode() + b"\0" + photo).hexdigest()

    def get(self, key: str) -> tuple[bool, Face | None]:
        """Whether the photo was prepared before, and its face if it has one."""
        try:
            raw = self._path(key).read_bytes()
        except FileNotFoundError:
            return False, None
        payload = raw[len(_MAGIC) + _DIGEST_BYTES :]
        if raw != _MAGIC + hashlib.sha256(payload).digest() + payload:
            return False, None
        if not payload:
            return True, None
        score, faces = np.frombuffer(payload, dtype="<f4", count=2)
        pixels = np.frombuffer(payload, dtype=np.uint8, offset=8)
        return (
            (True, Face(pixels.reshape(SIDE, SIDE, 3), float(score), int(faces)))
            if (len(pixels) == _PIXEL_BYTES)
            else (False, None)
        )

    def put(self, key: str, face: Face | None) -> None:
        """Remember what became of a photo."""
        payload = b""
        if face is not None:
            payload = np.array([face.score, face.faces], dtype="<f4").tobytes() + face.pixels.tobytes()
        path = self._path(key)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(_MAGIC + hashlib.sha256(payload).digest() + payload)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key
