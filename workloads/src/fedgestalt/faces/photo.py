"""Reading a photo that someone else made: limits first, then decoding, then orientation."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

MAX_FILE_BYTES = 32 << 20
MAX_PIXELS = 64_000_000
MIN_SIDE = 24  # pixels; nothing smaller can hold a face that the networks know
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "MPO")


class PhotoError(ValueError):
    """A photo cannot be used; the message says which and how to mend it, never what it shows."""


def read_bytes(path: Path) -> bytes:
    """A photo file's bytes, refused beyond ``MAX_FILE_BYTES``.

    Raises:
        PhotoError: missing, unreadable or too large.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise PhotoError(f"{path}: {size} bytes, at most {MAX_FILE_BYTES} are read; save a smaller copy")
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error


def decode(data: bytes, name: str = "photo") -> NDArray[np.uint8]:
    """RGB pixels, uint8 ``[H, W, 3]``, turned upright by the EXIF orientation.

    Args:
        data: the bytes of a JPEG, PNG, WebP, TIFF or BMP file.
        name: what to call the photo in an error.

    Raises:
        PhotoError: another format, damaged, larger than ``MAX_PIXELS`` or narrower than ``MIN_SIDE``.
    """
    if len(data) > MAX_FILE_BYTES:
        raise PhotoError(f"{name}: {len(data)} bytes, at most {MAX_FILE_BYTES} are read; send a smaller copy")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise PhotoError(
                        f"{name}: {width} x {height} pixels, at most {MAX_PIXELS}; send a smaller copy"
                    )
                if min(width, height) < MIN_SIDE:
                    raise PhotoError(
                        f"{name}: {width} x {height} pixels is too small; at least {MIN_SIDE} a side"
                    )
                return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except PhotoError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise PhotoError(
            f"{name}: not a readable {', '.join(FORMATS[:-1])} picture ({type(error).__name__})"
        ) from error
