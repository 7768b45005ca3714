"""A cohort that cannot be used is one error that lists every offender."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedgestalt.data import Cohort, CohortError, Photo, Role, load_cohort, write_cohort

HEAD = ["image", "patient", "syndrome", "role", "test_splits"]
GOOD = [
    ["photos/a.png", "p1", "OMIM:147920", "train", ""],
    ["photos/b.png", "p2", "OMIM:147920", "test", ""],
    ["photos/c.png", "p3", "ORPHA:199", "rotating", "1 4"],
    ["photos/d.png", "p4", "ORPHA:199", "rotating", "2"],
    ["photos/e.png", "p5", "", "undiagnosed", ""],
]


def photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def cohort(tmp_path: Path) -> Callable[..., Path]:
    def make(rows: list[list[str]] = GOOD, head: list[str] = HEAD) -> Path:
        for i, row in enumerate(GOOD):
            photo(tmp_path / row[0], i)
        with (tmp_path / "manifest.csv").open("w", newline="") as file:
            csv.writer(file).writerows([head, *rows])
        return tmp_path

    return make


def problems(folder: Path) -> tuple[str, ...]:
    with pytest.raises(CohortError) as caught:
        load_cohort(folder)
    return caught.value.problems


def changed(row: int, **cells: str) -> list[list[str]]:
    rows = [list(r) for r in GOOD]
    for name, value in cells.items():
        rows[row][HEAD.index(name)] = value
    return rows


def test_a_good_cohort_is_read_as_it_was_written(cohort: Callable[..., Path]) -> None:
    loaded = load_cohort(cohort())
    assert [p.patient for p in loaded.photos] == ["p1", "p2", "p3", "p4", "p5"]
    assert loaded.photos[2].test_splits == (1, 4)
    assert (loaded.trained, loaded.rare) == (("OMIM:147920",), ("ORPHA:199",))
    assert not loaded.synthetic


def test_writing_and_reading_gives_the_same_cohort(cohort: Callable[..., Path]) -> None:
    folder = cohort()
    photos = tuple(
        Photo(Path(r[0]), r[1], r[2] or None, Role(r[3]), tuple(map(int, r[4].split()))) for r in GOOD
    )
    written = Cohort(folder, "north", photos, True, {"seed": 3})
    write_cohort(written)
    assert load_cohort(folder) == written


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (changed(0, image="photos/absent.png"), "the file is missing"),
        (changed(0, image="../outside.png"), "no path inside the cohort's folder"),
        (changed(0, image="/etc/hostname"), "no path inside the cohort's folder"),
        (changed(1, image="photos/a.png"), "stands in line 2 already"),
        (changed(0, syndrome="147920"), "no known CURIE"),
        (changed(0, syndrome="FOO:1"), "no known CURIE"),
        (changed(0, syndrome=""), "needs one"),
        (changed(4, syndrome="ORPHA:199"), "has none"),
        (changed(0, role="gallery"), "role: 'gallery'"),
        (changed(0, patient=""), "patient: empty"),
        (changed(1, patient="p1"), "patient p1 has another role in line 2"),
        (changed(3, patient="p3"), "patient p3 has another test_splits in line 4"),
        (changed(1, syndrome="ORPHA:199"), "a syndrome is one or the other"),
        (changed(2, test_splits="0"), "use different numbers from 1 to 10"),
        (changed(2, test_splits="1 1"), "use different numbers from 1 to 10"),
        (changed(2, test_splits="one"), "write numbers separated by blanks"),
        (changed(0, test_splits="1"), "only rotating photos have them"),
        (changed(2, test_splits="1 2 3 4 5 6 7 8 9 10"), "never in the gallery"),
    ],
)
def test_each_offence_is_named_with_its_place(
    cohort: Callable[..., Path], rows: list[list[str]], words: str
) -> None:
    assert any(words in problem for problem in problems(cohort(rows)))


def test_all_offenders_stand_in_one_error(cohort: Callable[..., Path]) -> None:
    rows = changed(0, image="photos/absent.png")
    rows[1][HEAD.index("syndrome")] = "nonsense"
    rows[2][HEAD.index("role")] = "gallery"
    found = problems(cohort(rows))
    assert sum(words in "\n".join(found) for words in ("absent.png", "nonsense", "gallery")) == 3


def test_a_file_that_is_no_photo_is_named(cohort: Callable[..., Path]) -> None:
    folder = cohort()
    (folder / "photos" / "b.png").write_bytes(b"not a picture")
    assert any("b.png: not a readable photo" in problem for problem in problems(folder))


def test_a_cut_photo_is_named(cohort: Callable[..., Path]) -> None:
    folder = cohort()
    whole = (folder / "photos" / "b.png").read_bytes()
    (folder / "photos" / "b.png").write_bytes(whole[: len(whole) // 2])
    assert any("b.png" in problem for problem in problems(folder))


def test_the_same_photo_under_two_names_is_named(cohort: Callable[..., Path]) -> None:
    folder = cohort()
    (folder / "photos" / "b.png").write_bytes((folder / "photos" / "a.png").read_bytes())
    assert any("the same content as photos/a.png" in problem for problem in problems(folder))


def test_missing_columns_are_named(cohort: Callable[..., Path]) -> None:
    rows = [row[:4] for row in GOOD]
    assert problems(cohort(rows, HEAD[:4])) == ("manifest.csv: columns missing: test_splits",)


def test_an_empty_manifest_is_refused(cohort: Callable[..., Path]) -> None:
    assert any("no rows" in problem for problem in problems(cohort([])))


def test_a_folder_without_a_manifest_says_what_to_write(tmp_path: Path) -> None:
    assert "write one with the columns" in problems(tmp_path)[0]


def test_parquet_is_read_like_csv(cohort: Callable[..., Path]) -> None:
    import pyarrow
    import pyarrow.parquet

    folder = cohort()
    expected = load_cohort(folder).photos
    (folder / "manifest.csv").unlink()
    columns = {name: [row[i] for row in GOOD] for i, name in enumerate(HEAD)}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "manifest.parquet")
    assert load_cohort(folder).photos == expected


def test_damaged_facts_are_named(cohort: Callable[..., Path]) -> None:
    folder = cohort()
    (folder / "cohort.json").write_text("{")
    assert any("cohort.json" in problem for problem in problems(folder))
    (folder / "cohort.json").write_text(json.dumps({"name": "x", "synthetic": True}))
    assert load_cohort(folder).synthetic
