import hashlib
import hmac

import numpy as np
import pytest

from fedgestalt.flake import FlakeError, Frame, label_token, membership, photo_handle, rotate, unit_rows

FRAME = Frame.derive(bytes(32), 16, 20)
KEY = b"k" * 32


def unit(n, dim=16, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_rotation_keeps_inner_products_and_leaves_the_input_alone():
    rows = unit(9)
    before = rows.copy()
    masked = rotate(rows, FRAME)
    assert masked.dtype == np.float64
    assert masked.shape == (9, 20)
    np.testing.assert_allclose(masked @ masked.T, rows @ rows.T, atol=1e-14)
    np.testing.assert_array_equal(rows, before)


def test_float32_embeddings_are_brought_to_length_one_in_float64():
    masked = rotate(unit(50).astype(np.float32), FRAME)
    np.testing.assert_allclose(np.linalg.norm(masked, axis=1), 1.0, atol=1e-14)


@pytest.mark.parametrize("spoil", [np.nan, np.inf, 1.001, 0.0])
def test_rows_that_are_not_of_length_one_are_refused_by_number(spoil):
    rows = unit(5)
    rows[3] *= spoil
    with pytest.raises(FlakeError, match=r"1 of 5 .*rows 3\)"):
        rotate(rows, FRAME)


def test_what_is_not_a_matrix_of_floating_point_numbers_is_refused():
    for rows in (np.ones(16), np.ones((2, 16), dtype=np.int64)):
        with pytest.raises(FlakeError, match="matrix of floating-point"):
            unit_rows(rows)


def test_a_label_token_is_a_truncated_hmac_of_the_identifier():
    expected = hmac.new(KEY, b"fedgestalt/flake/label/v1\0OMIM:147920", hashlib.sha256).digest()[:16]
    assert label_token(KEY, "OMIM:147920") == expected


def test_tokens_of_two_epochs_share_nothing():
    curies = [f"SYN:F{i:03d}" for i in range(200)]
    first = {label_token(b"1" * 32, c) for c in curies}
    second = {label_token(b"2" * 32, c) for c in curies}
    assert len(first) == len(second) == 200
    assert not first & second


def test_a_photo_and_a_syndrome_of_one_name_have_different_names_for_the_hub():
    assert photo_handle(KEY, "SYN:F001") != label_token(KEY, "SYN:F001")


@pytest.mark.parametrize("curie", ["", "OMIM", "OMIM:", "OMIM:1 2", " OMIM:1", "OMIM:1\n", "a" * 40 + ":1"])
def test_texts_that_are_no_identifier_get_no_token(curie):
    with pytest.raises(FlakeError, match="PREFIX:ID"):
        label_token(KEY, curie)


def test_short_keys_are_refused():
    with pytest.raises(FlakeError, match="at least 32"):
        label_token(b"short", "SYN:F001")
    with pytest.raises(FlakeError, match="at least 32"):
        photo_handle(b"short", "a.png")


def test_roles_become_bitmaps():
    bits = membership(["train", "test", "rotating", "undiagnosed"], [[], [], [1, 3], []], 4)
    assert bits.gallery.tolist() == [0b1111, 0, 0b1010, 0]
    assert bits.test.tolist() == [0, 0b1111, 0b0101, 0]


@pytest.mark.parametrize(
    ("role", "numbers", "message"),
    [
        ("control", [], "unknown role"),
        ("train", [1], "only rotating"),
        ("rotating", [0], "not one of 1..4"),
        ("rotating", [5], "not one of 1..4"),
    ],
)
def test_roles_and_splits_that_do_not_fit_are_refused(role, numbers, message):
    with pytest.raises(FlakeError, match=message):
        membership([role], [numbers], 4)


@pytest.mark.parametrize("splits", [0, 33])
def test_the_number_of_splits_is_bounded(splits):
    with pytest.raises(FlakeError, match="number of splits"):
        membership([], [], splits)
