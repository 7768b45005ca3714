import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedgestalt.faces import photo
from fedgestalt.faces.photo import PhotoError, decode, read_bytes


def _encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def test_exif_orientation_is_honoured() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    np.testing.assert_array_equal(decode(_encoded(pixels, exif=exif)), np.rot90(pixels, -1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (32, 48)).save(buffer, "TIFF")
    assert decode(buffer.getvalue()).shape == (48, 32, 3)


@pytest.mark.parametrize("data", [b"", b"not a picture", _encoded(np.zeros((64, 64, 3), np.uint8))[:60]])
def test_damaged_bytes_name_the_photo(data: bytes) -> None:
    with pytest.raises(PhotoError, match="p-17"):
        decode(data, "p-17")


def test_formats_that_run_interpreters_are_not_tried() -> None:
    with pytest.raises(PhotoError):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n")


def test_limits_are_checked_before_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _encoded(np.zeros((100, 100, 3), np.uint8))
    monkeypatch.setattr(photo, "MAX_PIXELS", 99 * 100)
    with pytest.raises(PhotoError, match="100 x 100"):
        decode(data)
    monkeypatch.setattr(photo, "MAX_FILE_BYTES", 10)
    with pytest.raises(PhotoError, match="at most 10"):
        decode(data)


def test_tiny_photos_are_refused() -> None:
    with pytest.raises(PhotoError, match="too small"):
        decode(_encoded(np.zeros((20, 100, 3), np.uint8)))


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="No such file"):
        read_bytes(tmp_path / "gone.jpg")
