"""How many photos a silo trains on: what its public weight is made of."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path, PurePosixPath


class CohortUnreadableError(Exception):
    """The cohort's manifest cannot be read; the message names the file and the mend."""


def training_photos(cohort: Path, trained: Collection[str], excluded: Collection[str] = ()) -> int:
    """Count the photos with role ``train`` and a syndrome of ``trained`` in a cohort's manifest, withdrawn ones left out.

    Reads text only: the photos themselves are checked by the trainer.

    Raises:
        CohortUnreadableError: there is no manifest, or it lacks a column.
    """
    path = cohort / "manifest.csv"
    known = set(trained)
    try:
        with path.open(newline="") as file:
            return sum(
                row["role"] == "train"
                and row["syndrome"] in known
                and str(PurePosixPath(row["image"].strip())) not in excluded
                for row in csv.DictReader(file)
            )
    except OSError as error:
        raise CohortUnreadableError(
            f"{path}: {error.strerror}. Map the dataset to a cohort's folder in site.json."
        ) from error
    except KeyError as error:
        raise CohortUnreadableError(f"{path}: column {error} is missing.") from error
