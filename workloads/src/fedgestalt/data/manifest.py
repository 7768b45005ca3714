"""Reading and writing a cohort: ``manifest.csv`` (or ``.parquet``) and ``cohort.json`` beside the photos.

Columns: ``image`` (path relative to the folder), ``patient``, ``syndrome`` (CURIE; empty: undiagnosed), ``role`` and
``test_splits`` (numbers separated by blanks, for rotating patients). Further columns are allowed and not read.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fedgestalt.files import write_atomic

from .cohort import SPLITS, Cohort, Photo, Role
from .errors import CohortError
from .photofiles import escapes, file_problems

COLUMNS: Final = ("image", "patient", "syndrome", "role", "test_splits")
PREFIXES: Final = ("OMIM", "ORPHA", "MONDO", "GMDB", "SYN")
_CURIE: Final = re.compile(rf"({'|'.join(PREFIXES)}):[A-Za-z0-9]{{1,32}}")
_MOST_ROWS: Final = 1_000_000
_FACTS: Final[dict[str, type]] = {"name": str, "synthetic": bool, "provenance": dict}

Row = tuple[int, dict[str, str]]


def load_cohort(root: Path, *, check_images: bool = True) -> Cohort:
    """Read a cohort and check all of it.

    Args:
        root: the cohort's folder.
        check_images: decode every photo and look for duplicate content; False trusts an earlier check.

    Raises:
        CohortError: one error that lists every problem with its row, column and fix.
    """
    if not root.is_dir():
        raise CohortError(root, ["the folder does not exist; name the folder that holds manifest.csv"])
    facts = _read_facts(root)
    source, rows = _read_rows(root)
    problems: list[str] = []
    photos = [photo for row in rows if (photo := _photo(source, row, problems)) is not None]
    if not rows:
        problems.append(f"{source}: no rows; list at least one photo")
    problems += _rule_problems(source, photos)
    # Files of rows with other faults are looked at too: one error must be enough to mend everything.
    images = [Path(cells["image"]) for _, cells in rows if not escapes(cells["image"])]
    problems += file_problems(root, images, check_content=check_images)
    if problems:
        raise CohortError(root, problems)
    return Cohort(
        root,
        facts.get("name", root.name),
        tuple(photo for _, photo in photos),
        facts.get("synthetic", False),
        facts.get("provenance", {}),
    )


def write_cohort(cohort: Cohort) -> None:
    """Write ``cohort.json``, then ``manifest.csv``: a folder without a manifest is not finished."""
    facts = {"name": cohort.name, "synthetic": cohort.synthetic, "provenance": cohort.provenance}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for photo in cohort.photos:
        splits = " ".join(str(split) for split in photo.test_splits)
        writer.writerow(
            [photo.image.as_posix(), photo.patient, photo.syndrome or "", photo.role.value, splits]
        )
    write_atomic(cohort.root / "cohort.json", json.dumps(facts, indent=2, sort_keys=True).encode())
    write_atomic(cohort.root / "manifest.csv", text.getvalue().encode())


def _read_facts(root: Path) -> dict[str, Any]:
    path = root / "cohort.json"
    if not path.exists():
        return {}
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CohortError(root, [f"cohort.json: not readable JSON ({error}); mend or remove it"]) from error
    if not isinstance(facts, dict):
        raise CohortError(root, ["cohort.json: must be an object with name, synthetic and provenance"])
    problems = [
        f"cohort.json: {key}: {type(facts[key]).__name__} found, {kind.__name__} expected"
        for key, kind in _FACTS.items()
        if key in facts and not isinstance(facts[key], kind)
    ]
    if problems:
        raise CohortError(root, problems)
    return facts


def _read_rows(root: Path) -> tuple[str, list[Row]]:
    """The manifest's name and its rows with their line numbers, all values as text."""
    text, table = root / "manifest.csv", root / "manifest.parquet"
    if text.exists() and table.exists():
        raise CohortError(root, ["both manifest.csv and manifest.parquet; keep the one that holds"])
    if text.exists():
        source, rows = text.name, _read_csv(root, text)
    elif table.exists():
        source, rows = table.name, _read_parquet(root, table)
    else:
        raise CohortError(
            root,
            ["no manifest.csv and no manifest.parquet; write one with the columns " + ", ".join(COLUMNS)],
        )
    if len(rows) > _MOST_ROWS:
        raise CohortError(root, [f"{source}: more than {_MOST_ROWS} rows"])
    return source, rows


def _read_csv(root: Path, path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_columns(root, path.name, reader.fieldnames or ())
            return [(reader.line_num, {k: (row[k] or "").strip() for k in COLUMNS}) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CohortError(root, [f"{path.name}: no CSV in UTF-8 ({error}); save it as such"]) from error


def _read_parquet(root: Path, path: Path) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        content = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise CohortError(
            root, [f"{path.name}: no readable Parquet ({type(error).__name__}); write it again"]
        ) from error
    _check_columns(root, path.name, content.column_names)
    return [
        (number, {k: "" if row[k] is None else str(row[k]).strip() for k in COLUMNS})
        for number, row in enumerate(content.select(list(COLUMNS)).to_pylist(), 1)
    ]


def _check_columns(root: Path, source: str, found: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise CohortError(root, [f"{source}: columns missing: {', '.join(missing)}"])


def _photo(source: str, row: Row, problems: list[str]) -> tuple[int, Photo] | None:
    line, cells = row
    found: list[str] = []
    image = Path(cells["image"])
    if escapes(cells["image"]):
        found.append(f"image: {cells['image']!r} is no path inside the cohort's folder")
    if not cells["patient"]:
        found.append("patient: empty; every photo belongs to a patient")
    try:
        role = Role(cells["role"])
    except ValueError:
        found.append(f"role: {cells['role']!r}; use {', '.join(Role)}")
        role = Role.UNDIAGNOSED
    else:
        if bool(cells["syndrome"]) == (role is Role.UNDIAGNOSED):
            found.append(f"syndrome: role {role} {'has none' if cells['syndrome'] else 'needs one'}")
    if cells["syndrome"] and not _CURIE.fullmatch(cells["syndrome"]):
        found.append(
            f"syndrome: {cells['syndrome']!r} is no known CURIE; use {', '.join(PREFIXES)} and an identifier"
        )
    splits: tuple[int, ...] = ()
    try:
        splits = tuple(sorted(int(number) for number in cells["test_splits"].split()))
    except ValueError:
        found.append(f"test_splits: {cells['test_splits']!r}; write numbers separated by blanks")
    else:
        if splits and role is not Role.ROTATING:
            found.append(f"test_splits: only rotating photos have them, this one is {role}")
        if len(set(splits)) != len(splits) or any(not 1 <= split <= SPLITS for split in splits):
            found.append(f"test_splits: {cells['test_splits']!r}; use different numbers from 1 to {SPLITS}")
        if role is Role.ROTATING and len(splits) == SPLITS:
            found.append(
                "test_splits: test in every split, so the patient is never in the gallery; leave one out"
            )
    problems.extend(f"{source}, line {line}: {text}" for text in found)
    return None if found else (line, Photo(image, cells["patient"], cells["syndrome"] or None, role, splits))


def _rule_problems(source: str, photos: Sequence[tuple[int, Photo]]) -> Iterator[str]:
    """Rules over several rows: one path once, one patient in one place, one syndrome frequent or rare."""
    paths: dict[Path, int] = {}
    patients: dict[str, tuple[int, Photo]] = {}
    groups: dict[str, tuple[int, bool]] = {}
    for line, photo in photos:
        if photo.image in paths:
            yield f"{source}, line {line}: image: {photo.image} stands in line {paths[photo.image]} already"
        paths.setdefault(photo.image, line)
        first_line, first = patients.setdefault(photo.patient, (line, photo))
        for what in ("role", "test_splits", "syndrome"):
            if getattr(first, what) != getattr(photo, what):
                yield (
                    f"{source}, line {line}: {what}: patient {photo.patient} has another {what} in line {first_line}; "
                    "all photos of a patient go together"
                )
        if photo.syndrome:
            rare = photo.role is Role.ROTATING
            other_line, other = groups.setdefault(photo.syndrome, (line, rare))
            if other != rare:
                yield (
                    f"{source}, line {line}: role: {photo.syndrome} is {'rare' if rare else 'frequent'} here and "
                    f"{'rare' if other else 'frequent'} in line {other_line}; a syndrome is one or the other"
                )
