"""Faces for the report, each with its badge burnt into the pixels so that no copy loses it."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

BADGE: Final = "SYNTHETIC – invented faces"
_WIDTH: Final = 208
_STRIP: Final = 21


def badged(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return the face scaled to a common width with the badge in a strip under it.

    Args:
        pixels: uint8 [height, width, 3], RGB.

    Raises:
        ValueError: pixels of another shape or dtype.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"a photo is uint8 [height, width, 3], not {pixels.dtype} {list(pixels.shape)}")
    face = Image.fromarray(pixels)
    height = max(1, round(_WIDTH * face.height / face.width))
    picture = Image.new("RGB", (_WIDTH, height + _STRIP), (122, 20, 20))
    picture.paste(face.resize((_WIDTH, height), Image.Resampling.LANCZOS), (0, 0))
    draw = ImageDraw.Draw(picture)
    draw.text((_WIDTH / 2, height + _STRIP / 2), BADGE, fill=(255, 255, 255), font=_font(), anchor="mm")
    return picture


def data_uri(picture: Image.Image) -> str:
    """Return the picture as a data: URI (JPEG; EXIF-free, since it is made from pixels)."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=86, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@cache
def _font() -> ImageFont.FreeTypeFont:
    # matplotlib ships the font, so that the badge needs none of the system's.
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    return ImageFont.truetype(str(path), 12)
