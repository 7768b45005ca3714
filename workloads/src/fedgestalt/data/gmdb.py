"""Import of GestaltMatcher Database's published layout: lists of images as CSV files beside folders of photos.

    SRC/gmdb_metadata/gmdb_{frequent,rare}_{gallery,test}_images_<version>.csv   image_id, subject, label[, split]
    SRC/gmdb_images/<image_id>.jpg  or  SRC/gmdb_align/<image_id>_rot_aligned.jpg

``label`` is GMDB's own number of a syndrome and becomes the CURIE ``GMDB:<label>``. Frequent gallery images are trained on,
frequent test images are tests; rare images change sides by ``split`` (numbered from 0 there, from 1 here). The data need a
licence of their own; nothing of them is in this package.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .cohort import SPLITS, Cohort, Photo, Role
from .errors import CohortError
from .linking import link_or_copy
from .manifest import write_cohort

_LISTS: Final = ("frequent_gallery", "frequent_test", "rare_gallery", "rare_test")
_PHOTOS: Final = (
    ("gmdb_images", "{}.jpg"),
    ("gmdb_images", "{}.png"),
    ("gmdb_images", "{}.jpeg"),
    ("gmdb_align", "{}_rot_aligned.jpg"),
)


@dataclass(frozen=True)
class Imported:
    """A finished import: the cohort, and the images that were left out, each with the reason."""

    cohort: Cohort
    skipped: tuple[str, ...]


@dataclass
class _Subject:
    label: str
    role: Role
    images: dict[str, None] = field(default_factory=dict)
    tested: set[int] = field(default_factory=set)


def import_gmdb(source: Path, out: Path) -> Imported:
    """Write the cohort of GMDB's lists into ``out`` (photos are linked where the file system allows, else copied).

    Raises:
        CohortError: a list is missing, doubled or lacks a column, or a subject stands in contradictory lists; all of it at once.
    """
    problems: list[str] = []
    subjects: dict[str, _Subject] = {}
    for name in _LISTS:
        for line, row in _rows(source, name, problems):
            _add(subjects, name, line, row, problems)
    if not problems and not subjects:
        problems.append("the lists hold no image")
    if problems:
        raise CohortError(source, problems)
    skipped: list[str] = []
    photos: list[Photo] = []
    for subject, entry in sorted(subjects.items()):
        if entry.role is Role.ROTATING and len(entry.tested) == SPLITS:
            skipped.append(f"subject {subject}: test in every split, never in the gallery")
            continue
        for image in entry.images:
            found = _photo_file(source, image)
            if found is None:
                skipped.append(f"image {image}: no file in gmdb_images or gmdb_align")
                continue
            target = Path("photos") / f"{image}{found.suffix}"
            link_or_copy(found, out / target)
            splits = tuple(sorted(entry.tested)) if entry.role is Role.ROTATING else ()
            photos.append(Photo(target, subject, f"GMDB:{entry.label}", entry.role, splits))
    if not photos:
        raise CohortError(source, ["none of the listed images has a file", *skipped[:20]])
    out.mkdir(parents=True, exist_ok=True)
    cohort = Cohort(out, out.name, tuple(photos), False, {"source": "GMDB"})
    write_cohort(cohort)
    return Imported(cohort, tuple(skipped))


def _rows(source: Path, name: str, problems: list[str]) -> list[tuple[str, Mapping[str, str]]]:
    files = sorted((source / "gmdb_metadata").glob(f"gmdb_{name}_images_*.csv"))
    if len(files) != 1:
        what = "is missing" if not files else f"stands there {len(files)} times, once per version; keep one"
        problems.append(f"gmdb_metadata/gmdb_{name}_images_<version>.csv {what}")
        return []
    wanted = ["image_id", "subject", "label", *(["split"] if name.startswith("rare") else [])]
    with files[0].open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in wanted if column not in (reader.fieldnames or ())]
        if missing:
            problems.append(f"{files[0].name}: columns missing: {', '.join(missing)}")
            return []
        return [(f"{files[0].name}, line {reader.line_num}", row) for row in reader]


def _add(
    subjects: dict[str, _Subject], name: str, line: str, row: Mapping[str, str], problems: list[str]
) -> None:
    image, subject, label = (row[column].strip() for column in ("image_id", "subject", "label"))
    if not (image.isalnum() and subject and label.isalnum()):
        problems.append(f"{line}: image_id and label must be letters or digits, subject must not be empty")
        return
    rare = name.startswith("rare")
    role = Role.ROTATING if rare else Role.TRAIN if name.endswith("gallery") else Role.TEST
    entry = subjects.setdefault(subject, _Subject(label, role))
    if (entry.label, entry.role) != (label, role):
        problems.append(f"{line}: subject {subject} stands elsewhere as {entry.role} of {entry.label}")
        return
    entry.images[image] = None
    if name == "rare_test":
        number = row["split"].strip()
        if not number.isdigit() or int(number) >= SPLITS:
            problems.append(f"{line}: split {number!r} is no number from 0 to {SPLITS - 1}")
            return
        entry.tested.add(int(number) + 1)


def _photo_file(source: Path, image: str) -> Path | None:
    candidates = (source / folder / pattern.format(image) for folder, pattern in _PHOTOS)
    return next((path for path in candidates if path.is_file()), None)
