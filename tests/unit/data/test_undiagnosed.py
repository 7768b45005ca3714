"""Undiagnosed synthetic patients: whole syndromes without a name, strangers beside, and the truth kept apart."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from fedgestalt.data import Cohort, CohortError, Role
from fedgestalt.data.federation import make_federation
from fedgestalt.data.tiers import plan_patients
from fedgestalt.data.undiagnosed import TRUTH, choose, read_truth

from .conftest import TINY


@pytest.fixture(scope="module")
def nameless(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Cohort]]:
    out = tmp_path_factory.mktemp("nameless") / "federation"
    return out, make_federation(out, **TINY, undiagnosed=0.5, workers=1)


def test_a_fraction_of_the_rare_syndromes_is_held_out_and_one_stranger_of_each_other(
    nameless: tuple[Path, list[Cohort]],
) -> None:
    out, cohorts = nameless
    truth, held = read_truth(out)
    assert len(held) == 2, "half of the tiny tier's four"
    counts = Counter(truth.values())
    assert {counts[name] for name in held} == {8}
    assert sorted(counts[name] for name in counts.keys() - held) == [1, 1]
    undiagnosed = [p for c in cohorts for p in c.photos if p.role is Role.UNDIAGNOSED]
    assert {p.patient for p in undiagnosed} == truth.keys()
    assert all(p.syndrome is None and p.test_splits == () for p in undiagnosed)
    assert all(p.patient.startswith("U-") and p.patient in p.image.name for p in undiagnosed)
    assert held.isdisjoint(name for c in cohorts for name in c.rare)
    assert held.isdisjoint(json.loads((out / "vocabulary.json").read_text())["rare"])


def test_no_hospitals_folder_says_what_they_have(nameless: tuple[Path, list[Cohort]]) -> None:
    out, cohorts = nameless
    _, held = read_truth(out)
    for cohort in cohorts:
        content = (cohort.root / "manifest.csv").read_text()
        assert not any(name in content for name in held)
        assert not (cohort.root / TRUTH).exists()


def test_the_faces_stay_the_same_under_other_names(
    nameless: tuple[Path, list[Cohort]], tiny: tuple[Path, list[Cohort]]
) -> None:
    def faces(cohorts: list[Cohort]) -> set[str]:
        paths = (c.root / p.image for c in cohorts for p in c.photos)
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    assert faces(nameless[1]) == faces(tiny[1])


def test_without_undiagnosed_patients_nothing_is_new(tiny: tuple[Path, list[Cohort]]) -> None:
    out, cohorts = tiny
    assert not (out / TRUTH).exists()
    assert "undiagnosed" not in json.loads((out / "federation.json").read_text())
    assert all(p.role is not Role.UNDIAGNOSED for c in cohorts for p in c.photos)
    with pytest.raises(CohortError, match="synth --undiagnosed"):
        read_truth(out)


@pytest.mark.parametrize(("fraction", "held"), [(0.0, 0), (0.01, 1), (0.25, 10), (0.9, 36)])
def test_at_least_one_syndrome_is_held_out_and_never_all(fraction: float, held: int) -> None:
    chosen = choose(plan_patients("demo", 3), fraction, 3)
    assert len(chosen.held_out) == held
    assert len(set(chosen.names.values())) == len(chosen.names)
    assert choose(plan_patients("demo", 3), fraction, 3) == chosen


def test_a_fraction_out_of_range_is_refused() -> None:
    for fraction in (-0.1, 0.91, float("nan")):
        with pytest.raises(ValueError, match="undiagnosed lies between"):
            choose(plan_patients("tiny", 0), fraction, 0)
