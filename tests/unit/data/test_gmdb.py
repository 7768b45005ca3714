"""GMDB's published layout becomes a cohort that passes the strict loader."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedgestalt.data import CohortError, Role, load_cohort
from fedgestalt.data.gmdb import import_gmdb

LISTS = {
    "frequent_gallery": "image_id,subject,label\n1,s1,7\n2,s1,7\n",
    "frequent_test": "image_id,subject,label\n3,s2,7\n",
    "rare_gallery": "image_id,subject,label,split\n4,s3,9,0\n5,s4,9,1\n",
    "rare_test": "image_id,subject,label,split\n5,s4,9,0\n4,s3,9,1\n",
}


def layout(folder: Path, **lists: str) -> Path:
    (folder / "gmdb_metadata").mkdir(parents=True)
    (folder / "gmdb_images").mkdir()
    (folder / "gmdb_align").mkdir()
    for name, text in {**LISTS, **lists}.items():
        (folder / "gmdb_metadata" / f"gmdb_{name}_images_v1.0.3.csv").write_text(text)
    for number in range(1, 6):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        where = ("gmdb_align", "_rot_aligned") if number == 5 else ("gmdb_images", "")
        Image.fromarray(pixels).save(folder / where[0] / f"{number}{where[1]}.jpg")
    return folder


def test_roles_and_splits_follow_the_lists(tmp_path: Path) -> None:
    done = import_gmdb(layout(tmp_path / "gmdb"), tmp_path / "out")
    photos = {photo.patient: photo for photo in load_cohort(tmp_path / "out").photos}
    assert done.skipped == ()
    assert (photos["s1"].role, photos["s2"].role, photos["s3"].role) == (Role.TRAIN, Role.TEST, Role.ROTATING)
    assert (photos["s3"].test_splits, photos["s4"].test_splits) == ((2,), (1,))
    assert photos["s1"].syndrome == "GMDB:7"


def test_an_image_without_a_file_is_listed(tmp_path: Path) -> None:
    source = layout(tmp_path / "gmdb")
    (source / "gmdb_images" / "2.jpg").unlink()
    assert import_gmdb(source, tmp_path / "out").skipped == ("image 2: no file in gmdb_images or gmdb_align",)


def test_every_fault_of_the_lists_stands_in_one_error(tmp_path: Path) -> None:
    source = layout(
        tmp_path / "gmdb",
        frequent_test="image_id,subject,label\n3,s1,7\n",
        rare_test="image_id,subject,label,split\n5,s4,9,10\n",
        rare_gallery="image_id,subject\n",
    )
    with pytest.raises(CohortError) as caught:
        import_gmdb(source, tmp_path / "out")
    text = str(caught.value)
    assert "subject s1 stands elsewhere" in text
    assert "split '10'" in text
    assert "columns missing: label, split" in text
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_missing_and_doubled_lists_are_named(tmp_path: Path) -> None:
    source = layout(tmp_path / "gmdb")
    (source / "gmdb_metadata" / "gmdb_rare_test_images_v1.0.3.csv").unlink()
    (source / "gmdb_metadata" / "gmdb_frequent_test_images_v2.csv").write_text(LISTS["frequent_test"])
    with pytest.raises(CohortError) as caught:
        import_gmdb(source, tmp_path / "out")
    assert {line.split(" ")[0] for line in caught.value.problems} == {
        "gmdb_metadata/gmdb_rare_test_images_<version>.csv",
        "gmdb_metadata/gmdb_frequent_test_images_<version>.csv",
    }
