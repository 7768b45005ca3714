"""The query index: the plaintext's order exactly, nobody's similarity, rows that go when they should."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from numpy.typing import NDArray

from fedgestalt.flake import FlakeError, Frame, rotate
from fedgestalt.flake.bands import LIMITS, band
from fedgestalt.flake.index import TOP, GalleryIndex, Match
from fedgestalt.flake.match import Kernel
from fedgestalt.flake.upload import sort_rows

PRINT = bytes(16)
Rows = NDArray[np.float64]
Table = NDArray[np.uint8]


def unit(rng: np.random.Generator, n: int, width: int) -> Rows:
    rows: Rows = rng.standard_normal((n, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def table(*numbers: int) -> Table:
    return np.frombuffer(b"".join(k.to_bytes(16, "big") for k in numbers), np.uint8).reshape(-1, 16)


def number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def plaintext(rows: Rows, tokens: Table, handles: Table, query: Rows) -> list[tuple[bytes, bytes]]:
    """(token, handle) in order: nearest row per token, ties on the grid of 2^-40 by token and handle."""
    scores = np.rint(rows @ query * 2.0**40).astype(np.int64)
    order = sorted(range(len(rows)), key=lambda i: (-scores[i], tokens[i].tobytes(), handles[i].tobytes()))
    nearest: dict[bytes, bytes] = {}
    for i in order:
        nearest.setdefault(tokens[i].tobytes(), handles[i].tobytes())
    return list(nearest.items())


def pairs(answer: tuple[Match, ...]) -> list[tuple[bytes, bytes]]:
    return [(match.token, match.handle) for match in answer]


@pytest.mark.parametrize(("width", "syndromes", "seed"), [(64, 50, 0), (96, 200, 1), (512, 7, 2)])
def test_the_order_is_the_plaintexts(width: int, syndromes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    embeddings = unit(rng, 400, width)
    rows = rotate(embeddings, Frame.derive(bytes(32), width))
    tokens, handles = table(*rng.integers(0, syndromes, 400).tolist()), table(*rng.permutation(400).tolist())
    owners = rng.integers(0, 3, 400)
    index = GalleryIndex(width, PRINT)
    for owner in range(3):
        mine = owners == owner
        index.put(str(owner), rows[mine], tokens[mine], handles[mine])
    for question in unit(rng, 20, width):
        masked = rotate(question[None], Frame.derive(bytes(32), width))[0]
        assert pairs(index.query(masked)) == plaintext(embeddings, tokens, handles, question)[:TOP]
        others = owners != 1
        assert (
            pairs(index.query(masked, exclude="1"))
            == plaintext(embeddings[others], tokens[others], handles[others], question)[:TOP]
        )


def test_rows_that_float32_cannot_tell_apart_stand_in_their_true_order() -> None:
    rng = np.random.default_rng(3)
    (base,) = unit(rng, 1, 256)
    # Cosines to `base` that differ by some 1e-10: float32 sees 200 equal rows.
    rows = base + np.linspace(1.0e-5, 2.5e-5, 200)[:, None] * unit(rng, 200, 256)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert len(np.unique(rows.astype(np.float32) @ base.astype(np.float32))) < 20
    tokens, handles = table(*rng.permutation(200).tolist()), table(*range(200))
    index = GalleryIndex(256, PRINT)
    index.put("east", rows, tokens, handles)
    assert pairs(index.query(base)) == plaintext(rows, tokens, handles, base)[:TOP]


def test_the_order_is_the_kernels() -> None:
    rng = np.random.default_rng(4)
    rows, questions = unit(rng, 120, 32), unit(rng, 5, 32)
    labels = rng.integers(0, 25, 120).tolist()
    tokens = [label.to_bytes(16, "big") for label in labels]
    names = [k.to_bytes(16, "big") for k in range(125)]
    kernel, index = Kernel(), GalleryIndex(32, PRINT)
    kernel.put(
        "west",
        sort_rows(
            np.concatenate([rows, questions]),
            tokens=[*tokens, *tokens[:5]],
            handles=names,
            roles=["train"] * 120 + ["test"] * 5,
            test_splits=[()] * 125,
            splits=1,
        ),
    )
    index.put("west", rows, table(*labels), table(*range(120)))
    rankings = kernel.rankings("west")
    for question, order in zip(rankings.row, rankings.order, strict=True):
        place = number(rankings.handles[question].tobytes()) - 120
        expected = [rankings.tokens[k].tobytes() for k in order[:TOP]]
        assert [match.token for match in index.query(questions[place])] == expected


def test_ties_go_by_token_and_then_by_handle() -> None:
    row = np.eye(4)[:1]
    index = GalleryIndex(4, PRINT)
    index.put("east", np.repeat(row, 3, 0), table(9, 5, 5), table(1, 8, 7))
    index.put("west", np.repeat(row, 2, 0), table(5, 2), table(6, 0))
    found = [(number(match.token), number(match.handle)) for match in index.query(row[0])]
    assert found == [(2, 0), (5, 6), (9, 1)]


def test_an_answer_has_ranks_bands_tokens_and_handles_and_no_similarity() -> None:
    rng = np.random.default_rng(5)
    index = GalleryIndex(16, PRINT)
    index.put("east", unit(rng, 100, 16), table(*range(100)), table(*range(100)))
    answer = index.query(unit(rng, 1, 16)[0])
    assert [match.rank for match in answer] == list(range(1, TOP + 1))
    assert [match.band for match in answer] == sorted(match.band for match in answer)
    assert {field.name: field.type for field in fields(Match)} == {
        "rank": "int",
        "token": "bytes",
        "band": "int",
        "handle": "bytes",
    }
    assert len(index.query(unit(rng, 1, 16)[0], top=4)) == 4
    with pytest.raises(FlakeError, match="1 to 30"):
        index.query(unit(rng, 1, 16)[0], top=31)


@pytest.mark.parametrize(
    ("cosine", "expected"), [(1.0, 1), (LIMITS[2], 1), (0.5499, 2), (0.45, 2), (0.4, 3), (0.34, 4), (-1.0, 4)]
)
def test_a_limit_belongs_to_the_nearer_band(cosine: float, expected: int) -> None:
    assert band(cosine) == expected


def test_a_removed_row_is_found_no_more_and_the_others_still_are() -> None:
    rng = np.random.default_rng(6)
    rows = unit(rng, 60, 24)
    tokens, handles = table(*[k // 2 for k in range(60)]), table(*range(60))
    index = GalleryIndex(24, PRINT)
    index.put("east", rows, tokens, handles)
    gone = {0, 17, 59, 58}
    assert index.remove("east", [k.to_bytes(16, "big") for k in [*gone, 999]]) == len(gone)
    assert index.remove("north", [bytes(16)]) == 0
    kept = np.array([k not in gone for k in range(60)])
    assert index.counts() == {"east": 56}
    for k in range(60):
        expected = plaintext(rows[kept], tokens[kept], handles[kept], rows[k])
        assert pairs(index.query(rows[k])) == expected[:TOP]
    index.remove_owner("east")
    index.remove_owner("east")
    assert index.query(rows[0]) == ()
    assert len(index) == 0


def test_rows_come_later_and_replace_those_of_the_same_handle() -> None:
    rng = np.random.default_rng(7)
    rows = unit(rng, 90, 8)
    index = GalleryIndex(8, PRINT)
    for k in range(90):
        index.put("east", rows[k : k + 1], table(k), table(k % 30))
    assert len(index) == 30
    kept = slice(60, 90)
    expected = plaintext(rows[kept], table(*range(60, 90)), table(*range(30)), rows[3])
    assert pairs(index.query(rows[3])) == expected


def test_the_askers_own_gallery_alone_gives_no_answer() -> None:
    index = GalleryIndex(4, PRINT)
    assert index.query(np.eye(4)[0]) == ()
    index.put("east", np.eye(4), table(1, 2, 3, 4), table(1, 2, 3, 4))
    assert index.query(np.eye(4)[0], exclude="east") == ()


@pytest.mark.parametrize(
    "row",
    [
        np.full(4, 0.5) * 1.00001,
        np.array([np.nan, 0, 0, 1]),
        np.array([np.inf, 0, 0, 0]),
        np.zeros(4),
        np.eye(5)[0],
        np.eye(4),
        np.eye(4, dtype=np.float32)[0],
    ],
)
def test_what_is_no_unit_row_is_refused(row: Rows) -> None:
    index = GalleryIndex(4, PRINT)
    index.put("east", np.eye(4), table(1, 2, 3, 4), table(1, 2, 3, 4))
    with pytest.raises(FlakeError):
        index.query(row)
    with pytest.raises(FlakeError):
        index.put("east", row[None], table(1), table(9))
    assert len(index) == 4


def test_tables_that_do_not_fit_are_refused() -> None:
    index = GalleryIndex(4, PRINT)
    with pytest.raises(FlakeError, match="two rows"):
        index.put("east", np.eye(4)[:2], table(1, 2), table(1, 1))
    with pytest.raises(FlakeError, match="tokens"):
        index.put("east", np.eye(4)[:2], table(1), table(1, 2))
    with pytest.raises(FlakeError, match="width"):
        GalleryIndex(0, PRINT)
    with pytest.raises(FlakeError, match="fingerprint"):
        GalleryIndex(4, b"short")
