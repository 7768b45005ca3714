"""A made-up result, to be seen by tests only."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from fedgestalt.evaluation import EvaluationTable
from fedgestalt.report import Aggregation, CohortFacts, LookAlikes, Neighbour, Photo, ReportInput, SiloFacts

NAMES = ("north", "east", "south", "west")
_CENTRALISED = np.array(
    [[0.44, 0.76, 0.87, 0.98], [0.28, 0.61, 0.74, 0.97], [0.40, 0.71, 0.81, 0.94], [0.12, 0.29, 0.43, 0.69]]
)


def table(scale: float, seed: int = 0, replicates: int = 100) -> EvaluationTable:
    noise = np.random.default_rng(seed).normal(0, 0.02, (5, 4, replicates))
    figures = np.vstack([_CENTRALISED, _CENTRALISED.mean(axis=0)]) * scale
    return EvaluationTable.of_replicates(figures, np.clip(figures[..., None] + noise, 0, 1))


def photo(owner: str, seed: int, syndrome: str = "SYN:F001") -> Photo:
    y, x = np.mgrid[0:112, 0:112]
    tone = np.random.default_rng(seed).integers(90, 220, 3)
    inside = ((x - 56) / 36) ** 2 + ((y - 58) / 48) ** 2 < 1
    pixels = np.where(inside[..., None], tone, 230 - tone // 2).astype(np.uint8)
    return Photo(owner, pixels, syndrome)


def _silo(name: str, i: int) -> SiloFacts:
    near = tuple(Neighbour(f"SYN:F00{k}", photo(name, 10 * i + k, f"SYN:F00{k}")) for k in (1, 2, 3))
    cases = LookAlikes(photo(name, i), (*near, Neighbour("SYN:R002", handle="c0ffee12")))
    return SiloFacts(
        name,
        weight=500 - i,
        photos={"train": 500 - i, "test": 120},
        bytes_sent={"masked updates": 25_000_000 + i, "masked rows": 9_000_000, "messages": 400_000},
        look_alikes=(cases,),
    )


@pytest.fixture(scope="session")
def make() -> Callable[..., ReportInput]:
    def build(**changes: Any) -> ReportInput:
        result = ReportInput(
            cohort=CohortFacts("demo <tier>", True, "near-uniform", 60, 40, 2780, 2801),
            arms={
                "federated": table(0.97, 1),
                "centralised": table(1.0, 2),
                "local_only": table(0.84, 3),
                "start": table(0.9, 4),
            },
            silos=tuple(_silo(name, i) for i, name in enumerate(NAMES)),
            model_sha256=hashlib.sha256(b"model").hexdigest(),
            seed=7,
            wall_seconds=431.2,
            peak_rss_mib=3071.5,
            created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            stage_seconds={"Enrolling": 3.1, "Training": 300.0},
            aggregations=tuple(
                Aggregation(
                    "s16",
                    t,
                    NAMES if t != 4 else NAMES[:3],
                    hashlib.sha256(bytes([t])).hexdigest(),
                    1 + (t == 4),
                )
                for t in range(1, 11)
            ),
            versions={"fedgestalt": "0.1.0", "protocol": "1"},
            montage=tuple(photo(NAMES[i % 4], 50 + i) for i in range(12)),
            commands=("fedgestalt demo --tier demo --seed 7",),
        )
        return dataclasses.replace(result, **changes)

    return build


@pytest.fixture(scope="session")
def default_input(make: Callable[..., ReportInput]) -> ReportInput:
    return make()
