"""The sketch: bounds that hold whatever the data, answers that are the same with and without it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fedgestalt.flake import index as room
from fedgestalt.flake.index import TOP, GalleryIndex
from fedgestalt.flake.sketch import Sketch

from .test_index import pairs, plaintext, table, unit

Rows = NDArray[np.float64]


def low(rng: np.random.Generator, n: int, width: int, noise: float) -> Rows:
    """Rows near a subspace of eight directions."""
    directions, _ = np.linalg.qr(np.random.default_rng(99).standard_normal((width, 8)))
    rows: Rows = unit(rng, n, 8) @ directions.T + noise * unit(rng, n, width)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sketches of 16 numbers, from 64 rows on."""
    monkeypatch.setattr(room, "_SKETCH", 16)
    monkeypatch.setattr(room, "_SKETCH_ROWS", 64)
    monkeypatch.setattr(room, "_SAMPLE", 64)


@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.1, 10.0])
@pytest.mark.parametrize("size", [1, 8, 16, 96])
def test_every_inner_product_lies_within_its_bound(noise: float, size: int) -> None:
    rng = np.random.default_rng(0)
    rows, questions = low(rng, 300, 96, noise), low(rng, 50, 96, 0.3)
    sketch = Sketch.fit(rows[:100], size)
    coordinates, rest = sketch.project(rows)
    asked, left = sketch.project(questions)
    found = (coordinates @ asked.T).astype(np.float64)
    slack = np.outer(rest.astype(np.float64), left.astype(np.float64)) + sketch.error
    assert np.all(np.abs(rows @ questions.T - found) <= slack)
    if size >= 8 and noise <= 1e-6:
        assert rest.max() < 1e-4  # and it is no bound that holds because it says nothing


def test_a_sample_without_as_many_directions_still_gives_bounds() -> None:
    rows = np.repeat(np.eye(32)[:2], 40, axis=0)
    sketch = Sketch.fit(rows, 16)
    (one, two), rest = sketch.project(np.eye(32)[[1, 9]])
    assert abs(float(one @ two)) <= float(rest[0] * rest[1]) + sketch.error


@pytest.mark.usefixtures("small")
def test_answers_by_sketch_are_exact() -> None:
    rng = np.random.default_rng(1)
    rows = low(rng, 600, 128, 0.05)
    tokens, handles = table(*rng.integers(0, 100, 600).tolist()), table(*rng.permutation(600).tolist())
    index = GalleryIndex(128, bytes(16))
    index.put("east", rows[:300], tokens[:300], handles[:300])
    index.put("west", rows[300:], tokens[300:], handles[300:])
    index.prepare()
    for shelf in index._shelves.values():
        shelf.quick[:] = np.nan  # nobody looks there
    for question in low(rng, 30, 128, 0.05):
        assert pairs(index.query(question, top=5)) == plaintext(rows, tokens, handles, question)[:5]
        assert (
            pairs(index.query(question, exclude="east", top=5))
            == plaintext(rows[300:], tokens[300:], handles[300:], question)[:5]
        )


@pytest.mark.usefixtures("small")
def test_a_question_that_the_sketch_cannot_tell_apart_is_answered_exactly_as_well() -> None:
    rng = np.random.default_rng(2)
    rows = low(rng, 600, 128, 0.05)
    tokens, handles = table(*rng.integers(0, 100, 600).tolist()), table(*range(600))
    index = GalleryIndex(128, bytes(16))
    index.put("east", rows, tokens, handles)
    index.prepare()
    for question in unit(rng, 10, 128):
        assert pairs(index.query(question)) == plaintext(rows, tokens, handles, question)[:TOP]


@pytest.mark.usefixtures("small")
def test_rows_that_come_and_go_after_the_sketch_was_made_are_in_it() -> None:
    rng = np.random.default_rng(3)
    rows = low(rng, 300, 128, 0.05)
    tokens, handles = table(*rng.integers(0, 60, 300).tolist()), table(*range(300))
    index = GalleryIndex(128, bytes(16))
    index.put("east", rows[:100], tokens[:100], handles[:100])
    index.prepare()
    index.put("east", rows[100:200], tokens[100:200], handles[100:200])
    index.put("west", rows[200:], tokens[200:], handles[200:])
    index.remove("east", [handles[k].tobytes() for k in range(0, 200, 3)])
    kept = np.array([k >= 200 or k % 3 != 0 for k in range(300)])
    for _ in range(2):
        for shelf in index._shelves.values():
            shelf.quick[:] = np.nan
        for question in low(rng, 20, 128, 0.05):
            expected = plaintext(rows[kept], tokens[kept], handles[kept], question)
            assert pairs(index.query(question, top=3)) == expected[:3]
        index.prepare()  # there are twice as many now


@pytest.mark.usefixtures("small")
def test_rows_in_all_directions_get_no_sketch() -> None:
    rng = np.random.default_rng(4)
    rows = unit(rng, 300, 128)
    tokens, handles = table(*rng.integers(0, 60, 300).tolist()), table(*range(300))
    index = GalleryIndex(128, bytes(16))
    index.put("east", rows, tokens, handles)
    index.prepare()
    assert index._sketch is None
    for question in unit(rng, 10, 128):
        assert pairs(index.query(question)) == plaintext(rows, tokens, handles, question)[:TOP]
