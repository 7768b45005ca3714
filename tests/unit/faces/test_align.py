import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgestalt.faces.align import SIDE, TEMPLATE, align, similarity


def _transform(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.hstack([rotation, np.array(shift)[:, None]])


@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.05, 20),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_a_known_similarity_is_recovered(angle: float, scale: float, shift: tuple[float, float]) -> None:
    truth = _transform(angle, scale, shift)
    moved = TEMPLATE @ truth[:, :2].T + truth[:, 2]
    np.testing.assert_allclose(similarity(TEMPLATE, moved), truth, rtol=1e-9, atol=1e-7)


def test_mirrored_points_get_no_reflection() -> None:
    found = similarity(TEMPLATE, TEMPLATE * [-1, 1])
    assert np.linalg.det(found[:, :2]) > 0


def test_noise_moves_the_transform_only_by_least_squares() -> None:
    rng = np.random.default_rng(0)
    noisy = TEMPLATE + rng.normal(size=TEMPLATE.shape)
    best = similarity(TEMPLATE, noisy)

    def residual(transform: np.ndarray) -> float:
        return float(((TEMPLATE @ transform[:, :2].T + transform[:, 2] - noisy) ** 2).sum())

    for _ in range(20):
        other = best + 1e-3 * _transform(rng.normal(), 1.0, (rng.normal(), rng.normal()))
        assert residual(best) <= residual(other)


@pytest.mark.parametrize(
    ("source", "target"),
    [(np.ones((5, 2)), TEMPLATE), (TEMPLATE[:4], TEMPLATE), (TEMPLATE[:1], TEMPLATE[:1])],
    ids=["coinciding", "different", "single"],
)
def test_points_without_a_transform_are_refused(source: np.ndarray, target: np.ndarray) -> None:
    with pytest.raises(ValueError, match="points"):
        similarity(source, target)


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.7])
def test_landmarks_land_on_the_template(scale: float) -> None:
    """A photo with a bright dot at each landmark shows them where the template has them, at every size."""
    truth = _transform(0.2, 1 / scale, (90.0, 40.0))
    landmarks = TEMPLATE @ truth[:, :2].T + truth[:, 2]
    height = int(landmarks.max()) + 60
    yy, xx = np.mgrid[0:height, 0:height]
    radius = 3.0 / scale
    dots = sum(np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * radius**2)) for x, y in landmarks)
    photo = np.repeat((np.clip(dots, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    crop = align(photo, landmarks)
    assert crop.shape == (SIDE, SIDE, 3)
    assert crop.dtype == np.uint8
    for x, y in TEMPLATE:
        window = crop[int(y) - 6 : int(y) + 8, int(x) - 6 : int(x) + 8, 0].astype(float)
        rows, columns = np.mgrid[int(y) - 6 : int(y) + 8, int(x) - 6 : int(x) + 8]
        centre = np.array([(window * columns).sum(), (window * rows).sum()]) / window.sum()
        assert np.abs(centre - [x, y]).max() < 0.35


def test_fine_stripes_average_out_when_a_large_photo_shrinks() -> None:
    photo = np.zeros((1120, 1120, 3), dtype=np.uint8)
    photo[:, ::2] = 200
    crop = align(photo, TEMPLATE * 10 + 4.5)
    inner = crop[10:-10, 10:-10].astype(float)
    assert abs(inner.mean() - 100) < 2
    assert inner.std() < 3
