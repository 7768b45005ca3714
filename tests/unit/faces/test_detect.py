from pathlib import Path

import numpy as np
import pytest

from fedgestalt.faces.detect import detect
from fedgestalt.faces.photo import decode
from fedgestalt.faces.pixels import resize


def _photos(portraits: dict[Path, np.ndarray]) -> list[np.ndarray]:
    return [decode(path.read_bytes()) for path in portraits]


def test_landmarks_lie_within_two_pixels_of_the_truth(portraits: dict[Path, np.ndarray]) -> None:
    found = detect(_photos(portraits))
    errors = []
    for detection, truth in zip(found, portraits.values(), strict=True):
        assert detection is not None
        assert detection.faces == 1
        assert detection.score > 0.7
        left, top, right, bottom = detection.box
        assert (truth >= [left, top]).all()
        assert (truth <= [right, bottom]).all()
        errors.append(np.linalg.norm(detection.landmarks - truth, axis=1))
    assert np.median(errors) < 2.0


def test_enlarging_a_photo_scales_its_landmarks(portraits: dict[Path, np.ndarray]) -> None:
    """1,600 pixels are searched at 640 and reported at 1,600."""
    photo = _photos(portraits)[0]
    small, large = detect([photo, resize(photo, 1600, 1600)])
    assert small is not None
    assert large is not None
    scale = 1600 / photo.shape[0]
    assert np.abs((large.landmarks + 0.5) / scale - 0.5 - small.landmarks).max() < 3.0


def test_batching_changes_no_result(portraits: dict[Path, np.ndarray]) -> None:
    photos = _photos(portraits)
    photos.append(resize(photos[0], 200, 180))
    together, apart = detect(photos), [detect([photo])[0] for photo in photos]
    for a, b in zip(together, apart, strict=True):
        assert a is not None
        assert b is not None
        np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-2)


def test_the_larger_of_two_faces_is_taken_and_both_are_counted(portraits: dict[Path, np.ndarray]) -> None:
    photo = _photos(portraits)[0]
    wide = np.full((160, 320, 3), 128, dtype=np.uint8)
    wide[:, :160] = photo
    wide[24:136, 190:302] = resize(photo, 112, 112)
    (found,) = detect([wide])
    assert found is not None
    assert found.faces == 2
    assert found.landmarks[:, 0].max() < 160


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_photo_has_no_face(level: int) -> None:
    assert detect([np.full((160, 160, 3), level, dtype=np.uint8)]) == [None]


def test_noise_has_no_face() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    assert detect([noise]) == [None]


def test_low_contrast_is_no_obstacle(portraits: dict[Path, np.ndarray]) -> None:
    pale = [(180 + photo.astype(float) / 4).astype(np.uint8) for photo in _photos(portraits)]
    assert all(found is not None for found in detect(pale))


def test_other_arrays_than_rgb_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        detect([np.zeros((160, 160), dtype=np.uint8)])
    with pytest.raises(ValueError, match="float64"):
        detect([np.zeros((160, 160, 3))])
