import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedgestalt.faces.cache import Face, FaceCache
from fedgestalt.faces.detect import Detection, Detector, default_detector
from fedgestalt.faces.photo import PhotoError
from fedgestalt.faces.pipeline import prepare


class _CountingDetector(Detector):
    """The real detector, counting the photos it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def detect(self, images: Sequence[np.ndarray], batch: int = 64) -> list[Detection | None]:
        self.asked += len(images)
        return super().detect(images, batch)


@pytest.fixture
def folder(tmp_path: Path, portraits: dict[Path, np.ndarray]) -> list[Path]:
    paths = [Path(shutil.copy(path, tmp_path)) for path in portraits]
    Image.new("RGB", (160, 160), "grey").save(tmp_path / "wall.png")
    return [paths[0], tmp_path / "wall.png", *paths[1:]]


def test_photos_without_a_face_are_listed_and_rows_say_whence_they_come(
    folder: list[Path], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    faces = prepare(folder, tmp_path / "cache", progress=lambda done, total: seen.append((done, total)))
    assert faces.images.shape == (3, 112, 112, 3)
    assert faces.images.dtype == np.uint8
    assert faces.index.tolist() == [0, 2, 3]
    assert faces.not_found == (folder[1],)
    assert seen[-1] == (4, 4)


def test_a_cache_hit_asks_the_detector_nothing(folder: list[Path], tmp_path: Path) -> None:
    detector = _CountingDetector()
    first = prepare(folder, tmp_path / "cache", detector=detector)
    assert detector.asked == 4
    renamed = [path.rename(path.with_name(f"renamed-{path.name}")) for path in folder]
    again = prepare(renamed[::-1], tmp_path / "cache", detector=detector)
    assert detector.asked == 4
    np.testing.assert_array_equal(again.images, first.images[::-1])
    assert again.not_found == (renamed[1],)


def test_an_edited_photo_is_prepared_afresh(folder: list[Path], tmp_path: Path) -> None:
    detector = _CountingDetector()
    prepare(folder[:1], tmp_path / "cache", detector=detector)
    Image.open(folder[0]).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder[0])
    prepare(folder[:1], tmp_path / "cache", detector=detector)
    assert detector.asked == 2


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: raw[:-1] + b"\1", lambda raw: b""])
def test_a_damaged_entry_counts_as_absent(tmp_path: Path, damage: object) -> None:
    cache = FaceCache(tmp_path / "cache")
    cache.put("ab12", Face(np.full((112, 112, 3), 7, dtype=np.uint8), 0.5, 2))
    known, face = cache.get("ab12")
    assert known
    assert face is not None
    assert (face.score, face.faces, int(face.pixels.max())) == (0.5, 2, 7)
    path = tmp_path / "cache" / "ab" / "ab12"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert cache.get("ab12") == (False, None)


def test_the_cache_is_for_its_owner_alone(tmp_path: Path) -> None:
    FaceCache(tmp_path / "cache").put("ab12", None)
    entries = [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]
    assert len(entries) == 3
    assert all(entry.stat().st_mode & 0o077 == 0 for entry in entries)


def test_all_unreadable_photos_are_named_at_once_and_the_others_kept(
    folder: list[Path], tmp_path: Path
) -> None:
    folder[1].write_bytes(b"no picture")
    missing = tmp_path / "missing.jpg"
    with pytest.raises(PhotoError) as error:
        prepare([*folder, missing], tmp_path / "cache")
    assert "2 of 5" in str(error.value)
    assert str(folder[1]) in str(error.value)
    assert str(missing) in str(error.value)
    detector = _CountingDetector()
    prepare([folder[0], *folder[2:]], tmp_path / "cache", detector=detector)
    assert detector.asked == 0


def test_nothing_to_do_is_an_empty_result(tmp_path: Path) -> None:
    faces = prepare([], tmp_path / "cache", detector=default_detector())
    assert faces.images.shape == (0, 112, 112, 3)
    assert faces.not_found == ()
