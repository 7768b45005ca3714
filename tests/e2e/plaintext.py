"""The evaluation of a numeric federation in the clear, over all silos' cohorts at once."""

import csv
from pathlib import Path

import numpy as np

from fedgestalt.evaluation import EvaluationTable, Layout, evaluate_plaintext

from .numeric_federation import RARE, TRAINED
from .numeric_trainer import embedding


def plaintext_table(cohorts: Path) -> EvaluationTable:
    photos = [
        row
        for path in sorted(cohorts.glob("*/manifest.csv"))
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    return evaluate_plaintext(
        np.array([embedding(photo) for photo in photos]),
        [photo["syndrome"] for photo in photos],
        [photo["patient"] for photo in photos],
        [photo["role"] for photo in photos],
        [[int(n) for n in photo["test_splits"].split()] for photo in photos],
        Layout(tuple(TRAINED), tuple(RARE), 10, 20),
        seed=0,
    )
