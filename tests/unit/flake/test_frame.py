import pickle

import numpy as np
import pytest

from fedgestalt.flake import FlakeError, Frame
from fedgestalt.flake.frame import PANEL
from fedgestalt.flake.stream import NormalStream

KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("dim", "width"),
    [(1, 1), (2, 2), (PANEL - 1, PANEL), (PANEL, PANEL), (PANEL + 1, PANEL + 1), (3 * PANEL, 3 * PANEL + 7)],
)
def test_the_frame_is_an_isometry_whatever_its_size(dim, width):
    matrix = Frame.derive(KEY, dim, width).matrix()
    assert matrix.shape == (dim, width)
    assert np.abs(matrix @ matrix.T - np.eye(dim)).max() < 1e-13


def test_the_same_key_gives_the_same_frame_and_any_other_input_another():
    frame = Frame.derive(KEY, 20, 24)
    again = Frame.derive(bytes(KEY), 20, 24)
    np.testing.assert_array_equal(frame.matrix(), again.matrix())
    assert frame.fingerprint == again.fingerprint
    others = [Frame.derive(b"k" * 32, 20, 24), Frame.derive(KEY, 20, 25), Frame.derive(KEY, 19, 24)]
    assert len({f.fingerprint for f in (frame, *others)}) == 4
    for other in others:
        assert np.abs(other.matrix()[:19, :24] - frame.matrix()[:19, :24]).max() > 0.1


def test_applying_the_frame_is_multiplying_by_its_matrix():
    frame = Frame.derive(KEY, 100, 130)
    rows = np.random.default_rng(0).normal(size=(7, 100))
    np.testing.assert_allclose(frame.apply(rows), rows @ frame.matrix(), atol=1e-13)
    assert frame.apply(rows[:0]).shape == (0, 130)


def test_frames_are_distributed_by_haar_measure():
    # For O(4): E tr Q = 0, E (tr Q)^2 = 1, E tr Q^2 = 1. Without QR's sign rule the mean trace is far off.
    matrices = np.stack([Frame.derive(i.to_bytes(32, "big"), 4).matrix() for i in range(2000)])
    traces = np.trace(matrices, axis1=1, axis2=2)
    assert abs(traces.mean()) < 0.12  # five standard errors
    assert abs((traces**2).mean() - 1.0) < 0.2
    assert abs(np.trace(matrices @ matrices, axis1=1, axis2=2).mean() - 1.0) < 0.2
    assert {round(d) for d in np.linalg.det(matrices)} == {-1, 1}


def test_the_stream_is_aes_256_in_counter_mode_read_as_documented():
    # AES-256 of the zero block under the zero key: NIST's known answer dc95c078a2408989 ad48a21492842087.
    words = [0x898940A278C095DC, 0x8720849214A248AD]
    expected = [((w >> 11) + 1) / 2**53 for w in words]
    assert NormalStream(bytes(32)).uniform(2).tolist() == expected
    radius, angle = np.sqrt(-2 * np.log(expected[0])), 2 * np.pi * expected[1]
    np.testing.assert_allclose(
        NormalStream(bytes(32)).normal(2), [radius * np.cos(angle), radius * np.sin(angle)], rtol=1e-14
    )


def test_the_stream_goes_on_where_it_stopped_and_is_standard_normal():
    stream = NormalStream(KEY)
    parts = np.concatenate([stream.normal(10), stream.normal(200_000 - 10)])
    np.testing.assert_array_equal(parts, NormalStream(KEY).normal(200_000))
    assert abs(parts.mean()) < 0.012
    assert abs(parts.std() - 1.0) < 0.01
    assert abs((parts**4).mean() - 3.0) < 0.12


def test_a_known_frame_stays_what_it_is():
    # Pins panel size, stream order and signs: a change would silently part silos of different versions.
    corner = Frame.derive(KEY, 70, 80).matrix()[::23, ::29]
    expected = [
        [0.041006196020946, -0.126017739686687, -0.066137958421711],
        [-0.070096019601318, 0.129820560023244, 0.021190380706933],
        [0.158147450277662, 0.150648141820990, 0.001156948304660],
        [-0.026153097618998, -0.042172070936451, 0.007838841504659],
    ]
    np.testing.assert_allclose(corner, expected, atol=1e-12)


def test_a_frame_shows_neither_key_nor_numbers_and_cannot_be_pickled():
    frame = Frame.derive(KEY, 4)
    assert KEY.hex() not in repr(frame)
    assert "dim=4" in repr(frame)
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(frame)


@pytest.mark.parametrize(
    ("key", "dim", "width"), [(b"short", 4, None), (KEY, 0, None), (KEY, 5, 4), (KEY, 4, 1 << 20)]
)
def test_sizes_and_keys_that_make_no_frame_are_refused(key, dim, width):
    with pytest.raises(FlakeError):
        Frame.derive(key, dim, width)


def test_rows_of_another_dimension_are_refused():
    with pytest.raises(FlakeError, match="dimension 4"):
        Frame.derive(KEY, 4).apply(np.zeros((2, 5)))
