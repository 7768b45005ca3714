"""Checks of a cohort's photo files: present, inside the folder, decodable, and each content once."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

# The limits of fedgestalt.faces.photo, so that a checked cohort is one that can be used. Not imported, for that package
# loads torch in every rendering process; a test keeps both equal.
MAX_FILE_BYTES = 32 << 20
MAX_PIXELS = 64_000_000
MIN_SIDE = 24
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "MPO")


def escapes(image: str) -> bool:
    """Whether a manifest's path is no relative path inside the cohort's folder."""
    path = Path(image)
    return not path.parts or path.is_absolute() or ".." in path.parts or "\0" in image


def file_problems(root: Path, images: Iterable[Path], *, check_content: bool) -> Iterator[str]:
    """What is wrong with the files of a cohort, one sentence each.

    Args:
        root: the cohort's folder.
        images: paths relative to it, none of which `escapes`.
        check_content: also decode each photo and compare the contents; the limits are those of `fedgestalt.faces.photo`.
    """
    inside = root.resolve()
    contents: dict[str, Path] = {}
    for image in dict.fromkeys(images):  # a path that stands in two rows is reported by the manifest's rules
        path = root / image
        try:
            if not path.resolve(strict=True).is_relative_to(inside):
                yield f"{image}: a link to outside of the cohort's folder; put the file itself there"
                continue
            size = path.stat().st_size
        except OSError:
            yield f"{image}: the file is missing; add it or remove its row"
            continue
        if not path.is_file():
            yield f"{image}: no file; name a photo"
            continue
        if not check_content:
            continue
        if size > MAX_FILE_BYTES:
            yield f"{image}: {size} bytes, at most {MAX_FILE_BYTES} are read; save a smaller copy"
            continue
        try:
            data = path.read_bytes()
        except OSError as error:
            yield f"{image}: cannot be read ({error.strerror}); check its permissions"
            continue
        problem = _undecodable(data)
        if problem:
            yield f"{image}: not a readable photo ({problem}); replace the file or remove its row"
            continue
        digest = hashlib.sha256(data).hexdigest()
        if digest in contents:
            yield f"{image}: the same content as {contents[digest]}; remove one of the two rows"
        contents.setdefault(digest, image)


def _undecodable(data: bytes) -> str:
    """Why the bytes are no photo; empty if they are one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    return f"{width} x {height} pixels, at most {MAX_PIXELS}"
                if min(width, height) < MIN_SIDE:
                    return f"{width} x {height} pixels, at least {MIN_SIDE} a side"
                # Every byte of a JPEG is still read, but an eighth of its pixels are made: ten times as fast.
                image.draft("RGB", (width // 8 or 1, height // 8 or 1))
                image.load()
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        return type(error).__name__
    return ""
