"""Reading and writing a cohort: ``manifest.csv`` (or ``.parquet``) and ``cohort.json`` beside the photos.

Columns: ``image`` (path relative to the folder), ``patient``, ``syndrome`` (CURIE; empty: undiagnosed), ``role`` and
``test_splits`` (numbers separated by blanks, for rotating patients). Further columns are allowed and not read.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from fedgestalt.files import write_atomic

from .cohort import SPLITS, Cohort, Photo, Role
from .errors import CohortError

COLUMNS: Final = ("image", "patient", "syndrome", "role", "test_splits")
PREFIXES: Final = ("OMIM", "ORPHA", "MONDO", "SYN")
_CURIE: Final = re.compile(rf"({'|'.join(PREFIXES)}):[A-Za-z0-9]{{1,32}}")
_MOST_BYTES: Final = 64 << 20
_MOST_PIXELS: Final = 100_000_000
_MOST_ROWS: Final = 1_000_000

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
    problems += _file_problems(root, source, [photo for _, photo in photos], check_images)
    if problems:
        raise CohortError(root, problems)
    name, synthetic = str(facts.get("name", root.name)), bool(facts.get("synthetic", False))
    return Cohort(
        root, name, tuple(photo for _, photo in photos), synthetic, dict(facts.get("provenance", {}))
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
    return facts


def _read_rows(root: Path) -> tuple[str, list[Row]]:
    """The manifest's rows with their line numbers, all values as text."""
    table, text = root / "manifest.parquet", root / "manifest.csv"
    if text.exists():
        with text.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_columns(root, text.name, reader.fieldnames or ())
            rows = [(reader.line_num, {k: (row[k] or "").strip() for k in COLUMNS}) for row in reader]
    elif table.exists():
        import pyarrow.parquet

        content = pyarrow.parquet.read_table(table)
        _check_columns(root, table.name, content.column_names)
        rows = [
            (i + 1, {k: "" if row[k] is None else str(row[k]).strip() for k in COLUMNS})
            for i, row in enumerate(content.select(list(COLUMNS)).to_pylist())
        ]
        text = table
    else:
        raise CohortError(
            root,
            ["no manifest.csv and no manifest.parquet; write one with the columns " + ", ".join(COLUMNS)],
        )
    if len(rows) > _MOST_ROWS:
        raise CohortError(root, [f"{text.name}: more than {_MOST_ROWS} rows"])
    return text.name, rows


def _check_columns(root: Path, source: str, found: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise CohortError(root, [f"{source}: columns missing: {', '.join(missing)}"])


def _photo(source: str, row: Row, problems: list[str]) -> tuple[int, Photo] | None:
    line, cells = row
    found: list[str] = []
    image = Path(cells["image"])
    if not cells["image"] or image.is_absolute() or ".." in image.parts:
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


def _file_problems(root: Path, source: str, photos: Sequence[Photo], check_images: bool) -> Iterator[str]:
    contents: dict[str, Path] = {}
    for photo in photos:
        path = root / photo.image
        try:
            size = path.stat().st_size
        except OSError:
            yield f"{source}: {photo.image}: the file is missing"
            continue
        if not check_images:
            continue
        if size > _MOST_BYTES:
            yield f"{photo.image}: {size >> 20} MiB; at most {_MOST_BYTES >> 20} MiB are read"
            continue
        data = path.read_bytes()
        problem = _undecodable(data)
        if problem:
            yield f"{photo.image}: not a readable photo ({problem}); replace the file or remove its row"
            continue
        digest = hashlib.sha256(data).hexdigest()
        if digest in contents:
            yield f"{photo.image}: the same content as {contents[digest]}; remove one of the two rows"
        contents.setdefault(digest, photo.image)


def _undecodable(data: bytes) -> str:
    """Why the bytes are no photo; empty if they are one."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > _MOST_PIXELS:
                return f"{image.width} x {image.height} pixels are too many"
            image.draft("RGB", (image.width // 8 or 1, image.height // 8 or 1))
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return type(error).__name__
    return ""
