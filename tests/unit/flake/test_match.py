import numpy as np
import pytest

from fedgestalt.flake import NO_TOKEN, FlakeError, FolderCache, Kernel, Rankings, sort_rows
from fedgestalt.flake.gram import Questions, block_scores, tile


def name(text):
    return text.encode().ljust(16, b"\0")


def silo(rows, photos, splits=2, fingerprint=bytes(16)):
    """Build an upload from (handle, token or None, role, test splits) per row."""
    return sort_rows(
        np.asarray(rows, dtype=np.float64).reshape(len(photos), -1),
        tokens=[name(p[1]) if p[1] else None for p in photos],
        handles=[name(p[0]) for p in photos],
        roles=[p[2] for p in photos],
        test_splits=[p[3] for p in photos],
        splits=splits,
        fingerprint=fingerprint,
    )


def at(*degrees):
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def read(rankings):
    """Return {(handle, split): [tokens in order]} as text."""

    def text(value):
        return value.tobytes().rstrip(b"\0").decode()

    return {
        (text(rankings.handles[row]), int(split)): [text(rankings.tokens[i]) for i in order if i != NO_TOKEN]
        for row, split, order in zip(rankings.row, rankings.split, rankings.order, strict=True)
    }


# East has the frequent syndromes A and B; west has A and the rare R, one photo of which is a test in split 2.
EAST = silo(at(0, 60, 10), [("a", "A", "train", []), ("b", "B", "train", []), ("q", "A", "test", [])])
WEST = silo(
    at(100, 15, 40),
    [("c", "A", "train", []), ("r", "R", "rotating", [2]), ("s", "R", "rotating", [])],
)


def kernel(**options):
    made = Kernel(**options)
    made.put("east", EAST)
    made.put("west", WEST)
    return made


def test_syndromes_are_ranked_by_their_nearest_photo_in_any_silo_split_by_split():
    # From 10 degrees: R's photo at 15 is nearest, but is a test in split 2, where the one at 40 is left.
    assert read(kernel().rankings("east")) == {("q", 1): ["R", "A", "B"], ("q", 2): ["A", "R", "B"]}
    assert read(kernel().rankings("west")) == {("r", 2): ["A", "R", "B"]}


def test_a_token_without_gallery_in_a_split_is_not_ranked_there():
    lone = silo(at(0, 5), [("x", "L", "rotating", [2]), ("y", "M", "train", [])])
    made = Kernel()
    made.put("lone", lone)
    assert read(made.rankings("lone")) == {("x", 2): ["M"]}
    assert made.rankings("lone").order.tolist() == [[1, NO_TOKEN]]


def test_exact_ties_are_broken_by_token():
    gallery = silo(
        at(30, -30, 30), [("1", "Z", "train", []), ("2", "Y", "train", []), ("3", "X", "train", [])]
    )
    asking = silo(at(0), [("q", "Z", "test", [])])
    made = Kernel()
    made.put("g", gallery)
    made.put("q", asking)
    assert read(made.rankings("q")) == {("q", 1): ["X", "Y", "Z"], ("q", 2): ["X", "Y", "Z"]}


def test_a_joining_silo_costs_only_the_blocks_that_are_new():
    made = kernel()
    for owner in ("east", "west"):
        made.rankings(owner)
    assert made.computed == 4
    made.put("north", silo(at(12), [("n", "N", "train", [])]))
    assert read(made.rankings("east"))[("q", 1)] == ["N", "R", "A", "B"]
    for owner in ("east", "west", "north"):
        made.rankings(owner)
    assert made.computed == 4 + 5
    made.put("east", EAST)
    made.rankings("east")
    assert made.computed == 9


def test_a_folder_carries_blocks_to_the_next_kernel_job(tmp_path):
    folder = tmp_path / "blocks"
    first = kernel(cache=FolderCache(folder))
    expected = read(first.rankings("east"))
    second = kernel(cache=FolderCache(folder))
    assert read(second.rankings("east")) == expected
    assert (first.computed, second.computed) == (2, 0)
    assert folder.stat().st_mode & 0o777 == 0o700
    second.remove("west")
    assert len(FolderCache(folder)) == 1


def test_a_damaged_block_is_computed_again(tmp_path):
    folder = tmp_path / "blocks"
    expected = read(kernel(cache=FolderCache(folder)).rankings("east"))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    again = kernel(cache=FolderCache(folder))
    assert read(again.rankings("east")) == expected
    assert again.computed == 2


def test_a_folder_cache_takes_no_other_names(tmp_path):
    cache = FolderCache(tmp_path / "blocks")
    with pytest.raises(ValueError, match="name of a block"):
        cache["../outside"] = b""
    with pytest.raises(KeyError):
        del cache["0" * 64 + "-" + "0" * 64]
    assert "0" * 64 + "-" + "0" * 64 not in cache


def test_changed_rows_are_compared_again():
    made = kernel()
    made.rankings("east")
    made.put("west", silo(at(100), [("c", "A", "train", [])]))
    assert read(made.rankings("east"))[("q", 1)] == ["A", "B"]
    assert made.computed == 3


def test_a_silo_that_leaves_takes_its_rows_and_their_blocks_along():
    cache: dict[str, bytes] = {}
    made = kernel(cache=cache)
    made.rankings("east")
    made.rankings("west")
    made.remove("west")
    assert len(cache) == 1
    assert read(made.rankings("east")) == {("q", 1): ["A", "B"], ("q", 2): ["A", "B"]}
    with pytest.raises(FlakeError, match="no rows of 'west'"):
        made.rankings("west")


@pytest.mark.parametrize(
    "other",
    [
        silo(at(0), [("a", "A", "train", [])], fingerprint=b"f" * 16),
        silo(at(0), [("a", "A", "train", [])], splits=3),
        silo([[1.0, 0.0, 0.0]], [("a", "A", "train", [])]),
    ],
)
def test_rows_of_another_frame_width_or_number_of_splits_are_refused(other):
    with pytest.raises(FlakeError, match="frame of this epoch"):
        kernel().put("north", other)


def test_a_row_longer_than_one_does_not_enter():
    long = silo(at(0) * 1.1, [("a", "A", "train", [])])
    with pytest.raises(FlakeError, match="not of length one"):
        Kernel().put("east", long)


def test_one_row_at_a_time_gives_the_same_as_everything_at_once():
    whole = block_scores(EAST.test, WEST.gallery, 2)
    tiny = block_scores(EAST.test, WEST.gallery, 2, budget=1)
    np.testing.assert_array_equal(whole.scores, tiny.scores)
    np.testing.assert_array_equal(whole.tokens, tiny.tokens)


def test_tiles_keep_within_the_budget_at_the_papers_size():
    tests, gallery, width, cells, budget = 1698, 6554, 6144, 10 * 604, 64 << 20
    high, wide = tile(tests, gallery, width, cells, budget)
    assert high > 100
    assert wide > 100
    assert 8 * width * wide + high * (8 * width + 8 * cells + 24 * wide) <= budget


def test_rankings_hold_no_similarity_and_survive_encoding():
    rankings = kernel().rankings("east")
    again = Rankings.decode(rankings.encode(), EAST.test, 2)
    assert read(again) == read(rankings)
    assert set(vars(rankings)) == {"tokens", "handles", "row", "split", "order"}


def test_an_answer_to_other_questions_than_those_asked_is_refused():
    blob = kernel().rankings("east").encode()
    for test, splits in ((WEST.test, 2), (EAST.test, 1)):
        with pytest.raises(FlakeError, match="exactly the test rows"):
            Rankings.decode(blob, test, splits)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([[0, 0, 1], [0, 1, 2]], "twice"),
        ([[0, 1, 3], [0, 1, 2]], "not in the table"),
        ([[NO_TOKEN, 1, 2], [0, 1, 2]], "gap"),
        ([[0, 1], [0, 1]], "order"),
    ],
)
def test_orders_that_are_no_rankings_are_refused(order, message):
    good = kernel().rankings("east")
    with pytest.raises(FlakeError, match=message):
        Rankings(good.tokens, good.handles, good.row, good.split, np.array(order, dtype=np.uint16))


def test_questions_are_listed_by_row_then_split():
    questions = Questions.of(WEST.test, 2)
    assert (questions.row.tolist(), questions.split.tolist()) == ([0], [2])
    questions = Questions.of(EAST.test, 2)
    assert (questions.row.tolist(), questions.split.tolist()) == ([0, 0], [1, 2])
