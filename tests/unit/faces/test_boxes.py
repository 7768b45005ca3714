import numpy as np

from fedgestalt.faces.boxes import calibrate, crop, squared, suppress, whole_pixels


def test_the_better_of_two_overlapping_boxes_survives() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], dtype=float)
    assert suppress(boxes, np.array([0.6, 0.9, 0.7]), 0.5).tolist() == [1, 2]


def test_a_suppressed_box_suppresses_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], dtype=float)
    assert suppress(boxes, np.array([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]


def test_a_box_inside_another_goes_only_by_the_smaller_area() -> None:
    boxes = np.array([[0, 0, 20, 20], [5, 5, 10, 10]], dtype=float)
    scores = np.array([0.9, 0.8])
    assert suppress(boxes, scores, 0.7).tolist() == [0, 1]
    assert suppress(boxes, scores, 0.7, contained=True).tolist() == [0]


def test_no_boxes_is_no_special_case() -> None:
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


def test_offsets_are_fractions_of_the_sides() -> None:
    moved = calibrate(np.array([[10.0, 20.0, 30.0, 60.0]]), np.array([[0.1, 0.1, -0.1, 0.2]]))
    np.testing.assert_allclose(moved, [[12, 24, 28, 68]])


def test_squares_keep_the_centre_and_reach_the_longer_side() -> None:
    np.testing.assert_allclose(squared(np.array([[0.0, 0.0, 4.0, 10.0]])), [[-3, 0, 7, 10]])


def test_rounding_never_empties_a_box() -> None:
    assert whole_pixels(np.array([[3.2, 3.2, 3.4, 3.4]])).tolist() == [[3, 3, 4, 4]]


def test_a_crop_beyond_the_edge_is_black_there() -> None:
    image = np.full((20, 20, 3), 200, dtype=np.uint8)
    out = crop(image, np.array([-10.0, 0.0, 10.0, 20.0]), 20)
    assert (out[:, :10] == 0).all()
    assert (out[:, 10:] == 200).all()


def test_a_crop_wholly_outside_is_black() -> None:
    image = np.full((20, 20, 3), 200, dtype=np.uint8)
    assert not crop(image, np.array([30.0, 30.0, 40.0, 40.0]), 24).any()
