import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from fedgestalt.data import Cohort, CohortError, Photo, Role, load_cohort, photofiles, write_cohort
from fedgestalt.faces import photo


def problems(root: Path, **options: bool) -> tuple[str, ...]:
    with pytest.raises(CohortError) as caught:
        load_cohort(root, **options)
    return caught.value.problems


def test_a_correct_cohort_loads_with_its_roles_and_syndromes(folder):
    root = folder.fill(
        [
            folder.row("a.jpg"),
            folder.row("sub/b.jpg", role="test"),
            folder.row("c.jpg", syndrome="ORPHA:904", role="rotating", test_splits="10 2"),
            folder.row("d.jpg", syndrome="ORPHA:904", role="rotating"),
            folder.row("e.jpg", syndrome="", role="undiagnosed"),
        ]
    )
    cohort = load_cohort(root)
    assert cohort.trained == ("OMIM:122470",)
    assert cohort.rare == ("ORPHA:904",)
    assert cohort.patients == ("a", "b", "c", "d", "e")
    assert cohort.photos[2].test_splits == (2, 10)
    assert cohort.photos[4] == Photo(Path("e.jpg"), "e", None, Role.UNDIAGNOSED)
    assert cohort.name == "cohort"
    assert not cohort.synthetic


def test_every_offender_stands_in_one_error(folder):
    root = folder.fill(
        [
            folder.row("good.jpg"),
            folder.row("malformed.jpg", syndrome="OMIM 122470"),
            folder.row("unknown.jpg", syndrome="HGNC:12"),
            folder.row("role.jpg", role="gallery"),
            folder.row("nobody.jpg", patient=""),
            folder.row("rotating.jpg", syndrome="OMIM:1", role="rotating", test_splits="0 11"),
        ]
    )
    found = problems(root)
    assert len(found) == 5
    for line, (column, value) in enumerate(
        [
            ("syndrome", "OMIM 122470"),
            ("syndrome", "HGNC:12"),
            ("role", "gallery"),
            ("patient", "empty"),
            ("test_splits", "0 11"),
        ],
        start=3,
    ):
        assert [p for p in found if f"line {line}: {column}" in p and value in p], (line, column)


def test_bad_rows_do_not_hide_missing_files_and_conflicts(folder):
    root = folder.fill(
        [
            folder.row("a.jpg", patient="p1"),
            folder.row("b.jpg", patient="p1", role="test"),
            folder.row("c.jpg", syndrome="nonsense"),
            folder.row("gone.jpg"),
        ]
    )
    (root / "gone.jpg").unlink()
    (root / "c.jpg").unlink()
    text = "\n".join(problems(root))
    assert "gone.jpg: the file is missing" in text
    assert "c.jpg: the file is missing" in text
    assert "patient p1 has another role" in text
    assert "nonsense" in text


@pytest.mark.parametrize("image", ["../out.jpg", "/etc/passwd", "sub/../../out.jpg", ""])
def test_an_image_outside_the_folder_is_refused(folder, image):
    root = folder.manifest([folder.row("x.jpg") | {"image": image}])
    assert any("no path inside" in p for p in problems(root))


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    root = folder.manifest([folder.row("link.jpg")])
    (tmp_path / "secret.jpg").write_bytes(folder.photo(1))
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    assert any("link.jpg" in p and "outside" in p for p in problems(root))
    assert any("link.jpg" in p and "outside" in p for p in problems(root, check_images=False))


def test_a_folder_in_place_of_a_photo_is_one_of_the_problems(folder):
    root = folder.fill([folder.row("a.jpg"), folder.row("b.jpg")])
    (root / "b.jpg").unlink()
    (root / "b.jpg").mkdir()
    assert any("b.jpg" in p and "no file" in p for p in problems(root))


@pytest.mark.parametrize("content", [b"", b"no photo at all", b"\xff\xd8\xff\xe0 truncated"])
def test_an_unreadable_photo_is_named(folder, content):
    root = folder.fill([folder.row("a.jpg"), folder.row("broken.jpg")])
    folder.put("broken.jpg", content)
    (problem,) = problems(root)
    assert "broken.jpg: not a readable photo" in problem


def test_a_truncated_photo_is_unreadable(folder):
    root = folder.fill([folder.row("half.jpg")])
    whole = folder.photo(1, (200, 200))
    folder.put("half.jpg", whole[: len(whole) // 2])
    (problem,) = problems(root)
    assert "half.jpg: not a readable photo" in problem


def test_a_pixel_bomb_is_refused_without_being_decoded(folder):
    root = folder.fill([folder.row("bomb.png")])
    Image.new("1", (20_000, 20_000)).save(root / "bomb.png")
    assert (root / "bomb.png").stat().st_size < 1 << 20
    (problem,) = problems(root)
    assert "bomb.png" in problem


def test_too_many_bytes_are_not_read(folder, monkeypatch):
    monkeypatch.setattr(photofiles, "MAX_FILE_BYTES", 100)
    root = folder.fill([folder.row("large.jpg")])
    (problem,) = problems(root)
    assert "large.jpg" in problem
    assert "at most" in problem


def test_a_photo_too_small_for_a_face_is_refused(folder):
    root = folder.fill([folder.row("small.jpg")])
    folder.put("small.jpg", folder.photo(1, (20, 40)))
    (problem,) = problems(root)
    assert "20 x 40 pixels, at least 24" in problem


@pytest.mark.parametrize("limit", ["MAX_FILE_BYTES", "MAX_PIXELS", "MIN_SIDE", "FORMATS"])
def test_a_checked_photo_is_one_that_the_faces_room_reads(limit):
    assert getattr(photofiles, limit) == getattr(photo, limit)


def test_both_kinds_of_manifest_at_once_are_refused(folder):
    root = folder.fill([folder.row("a.jpg")])
    (root / "manifest.parquet").write_bytes(b"")
    assert "both" in problems(root)[0]


def test_images_are_not_decoded_when_an_earlier_check_is_trusted(folder):
    root = folder.fill([folder.row("a.jpg")])
    folder.put("a.jpg", b"no photo")
    assert len(load_cohort(root, check_images=False).photos) == 1
    (root / "a.jpg").unlink()
    assert "missing" in problems(root, check_images=False)[0]


def test_one_path_twice_is_refused(folder):
    root = folder.fill([folder.row("a.jpg"), folder.row("a.jpg")])
    assert any("line 3: image: a.jpg stands in line 2 already" in p for p in problems(root))


def test_the_same_content_under_two_names_is_refused(folder):
    root = folder.fill([folder.row("a.jpg"), folder.row("b.jpg"), folder.row("c.jpg")])
    folder.put("c.jpg", (root / "a.jpg").read_bytes())
    (problem,) = problems(root)
    assert "c.jpg: the same content as a.jpg" in problem


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ({"role": "train"}, {"role": "test"}, "role"),
        ({"syndrome": "OMIM:1"}, {"syndrome": "OMIM:2"}, "syndrome"),
        (
            {"role": "rotating", "test_splits": "1 2"},
            {"role": "rotating", "test_splits": "1 3"},
            "test_splits",
        ),
    ],
)
def test_a_patient_is_in_one_place_only(folder, first, second, what):
    root = folder.fill(
        [folder.row("a.jpg", patient="p", **first), folder.row("b.jpg", patient="p", **second)]
    )
    (problem,) = problems(root)
    assert f"line 3: {what}: patient p" in problem
    assert "line 2" in problem


def test_a_syndrome_is_frequent_or_rare(folder):
    root = folder.fill([folder.row("a.jpg"), folder.row("b.jpg", role="rotating", test_splits="1")])
    (problem,) = problems(root)
    assert "OMIM:122470 is rare here and frequent in line 2" in problem


@pytest.mark.parametrize(
    ("role", "splits", "says"),
    [
        ("rotating", "1 1", "different numbers"),
        ("rotating", "0", "different numbers"),
        ("rotating", "one", "numbers separated by blanks"),
        ("rotating", "1,2", "numbers separated by blanks"),
        ("rotating", "1 2 3 4 5 6 7 8 9 10", "never in the gallery"),
        ("train", "1", "only rotating"),
    ],
)
def test_impossible_splits_are_refused(folder, role, splits, says):
    root = folder.fill([folder.row("a.jpg", role=role, test_splits=splits)])
    (problem,) = problems(root)
    assert says in problem


@pytest.mark.parametrize(("role", "syndrome"), [("train", ""), ("rotating", ""), ("undiagnosed", "OMIM:1")])
def test_only_the_undiagnosed_have_no_syndrome(folder, role, syndrome):
    (problem,) = problems(folder.fill([folder.row("a.jpg", role=role, syndrome=syndrome)]))
    assert "line 2: syndrome" in problem


def test_missing_columns_are_listed(folder):
    (folder.root / "manifest.csv").write_text("image,patient\na.jpg,p\n")
    (problem,) = problems(folder.root)
    assert "syndrome, role, test_splits" in problem


def test_no_rows_no_manifest_and_no_folder_are_errors(folder):
    assert "no manifest.csv" in problems(folder.root)[0]
    assert "no rows" in problems(folder.manifest([]))[0]
    assert "does not exist" in problems(folder.root / "absent")[0]


def test_a_manifest_that_is_no_text_is_one_error(folder):
    (folder.root / "manifest.csv").write_bytes(b"image,patient,syndrome,role,test_splits\n\xff\xfe\x00,a\n")
    assert "UTF-8" in problems(folder.root)[0]


def test_a_byte_order_mark_is_accepted(folder):
    root = folder.fill([folder.row("a.jpg")], encoding="utf-8-sig")
    assert load_cohort(root).photos[0].image == Path("a.jpg")


def test_further_columns_and_blanks_are_ignored(folder):
    folder.put("a.jpg", folder.photo(1))
    (folder.root / "manifest.csv").write_text(
        "consent,image,patient,syndrome,role,test_splits\nyes, a.jpg ,p , OMIM:1,train,\n"
    )
    assert load_cohort(folder.root).photos == (Photo(Path("a.jpg"), "p", "OMIM:1", Role.TRAIN),)


def test_parquet_reads_like_csv(folder):
    rows = [
        folder.row("a.jpg"),
        folder.row("b.jpg", syndrome="MONDO:0016033", role="rotating", test_splits="3"),
    ]
    root = folder.fill(rows)
    expected = load_cohort(root)
    (root / "manifest.csv").unlink()
    table = pyarrow.Table.from_pylist([{k: v or None for k, v in cells.items()} for cells in rows])
    pyarrow.parquet.write_table(table, root / "manifest.parquet")
    assert load_cohort(root) == expected


def test_a_broken_parquet_file_is_one_error(folder):
    (folder.root / "manifest.parquet").write_bytes(b"PAR1 no table")
    assert "manifest.parquet" in problems(folder.root)[0]


@pytest.mark.parametrize("text", ["{", "[]", '{"provenance": 3}', '{"synthetic": "false"}', '{"name": 3}'])
def test_a_bad_cohort_json_is_one_error(folder, text):
    root = folder.fill([folder.row("a.jpg")])
    (root / "cohort.json").write_text(text)
    assert "cohort.json" in problems(root)[0]


def test_many_problems_are_kept_whole_and_shown_in_part(folder):
    root = folder.manifest([folder.row(f"{i}.jpg", syndrome="bad") for i in range(60)])
    with pytest.raises(CohortError) as caught:
        load_cohort(root)
    assert len(caught.value.problems) == 120
    assert "... and 70 more" in str(caught.value)


def test_what_is_written_loads_again(folder):
    photos = (
        Photo(Path("x/a.jpg"), "p1", "SYN:F001", Role.TRAIN),
        Photo(Path("b, c.jpg"), "p2", "SYN:R001", Role.ROTATING, (1, 9)),
        Photo(Path("d.jpg"), "p3", None, Role.UNDIAGNOSED),
    )
    cohort = Cohort(folder.root, "north", photos, True, {"seed": 3})
    for number, one in enumerate(photos):
        folder.put(str(one.image), folder.photo(number))
    write_cohort(cohort)
    loaded = load_cohort(folder.root)
    assert loaded == cohort
    assert loaded.provenance == {"seed": 3}
    assert json.loads((folder.root / "cohort.json").read_text())["synthetic"] is True
    assert not list(folder.root.glob(".*"))


def test_a_subset_keeps_the_rest_of_the_cohort(folder):
    cohort = load_cohort(folder.fill([folder.row("a.jpg"), folder.row("b.jpg", role="test")]))
    assert [p.patient for p in cohort.subset(lambda p: p.role is Role.TEST).photos] == ["b"]
    assert cohort.subset(lambda p: True) == cohort
