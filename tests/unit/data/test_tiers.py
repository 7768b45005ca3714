from collections import Counter, defaultdict

import pytest

from fedgestalt.data import SPLITS, Role
from fedgestalt.data.tiers import PlannedPatient, plan_patients, syndromes


def by_syndrome(tier: str, seed: int = 0) -> dict[str, list[PlannedPatient]]:
    found: dict[str, list[PlannedPatient]] = defaultdict(list)
    for patient in plan_patients(tier, seed):
        found[patient.syndrome.name].append(patient)
    return found


@pytest.mark.parametrize(("tier", "frequent", "rare"), [("tiny", 8, 4), ("demo", 60, 40), ("full", 204, 400)])
def test_tiers_have_the_stated_numbers_of_syndromes(tier, frequent, rare):
    classes = syndromes(tier)
    assert sum(not s.rare for s in classes) == frequent
    assert sum(s.rare for s in classes) == rare
    assert len({s.name for s in classes}) == len(classes)
    assert len({s.profile.source for s in classes}) == len(classes)


def test_demo_has_the_patients_that_its_claims_need():
    roles = Counter(patient.role for patient in plan_patients("demo", 0))
    assert roles == {Role.TRAIN: 60 * 33, Role.TEST: 60 * 8, Role.ROTATING: 40 * 8}


def test_tiny_has_eight_patients_a_syndrome():
    assert {len(patients) for patients in by_syndrome("tiny").values()} == {8}


@pytest.mark.parametrize("seed", [0, 7])
def test_demo_tests_four_patients_of_each_rare_syndrome_against_four_in_every_split(seed):
    for name, patients in by_syndrome("demo", seed).items():
        if not patients[0].syndrome.rare:
            continue
        for split in range(1, SPLITS + 1):
            test = sum(split in patient.test_splits for patient in patients)
            assert 3 <= test <= 5, (name, split)
        assert sum(len(patient.test_splits) for patient in patients) == 4 * SPLITS


@pytest.mark.parametrize("tier", ["tiny", "demo", "full"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_rare_syndrome_has_gallery_and_test_in_every_split(tier, seed):
    for name, patients in by_syndrome(tier, seed).items():
        if patients[0].syndrome.rare:
            for split in range(1, SPLITS + 1):
                sides = {split in patient.test_splits for patient in patients}
                assert sides == {True, False}, (name, split)


@pytest.mark.parametrize("tier", ["tiny", "demo", "full"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_rotating_patient_is_gallery_in_some_split(tier, seed):
    for patient in plan_patients(tier, seed):
        assert len(patient.test_splits) < SPLITS
        if patient.role is not Role.ROTATING:
            assert patient.test_splits == ()


@pytest.mark.parametrize("tier", ["tiny", "demo", "full"])
def test_a_tier_is_a_function_of_its_seed(tier):
    assert plan_patients(tier, 3) == plan_patients(tier, 3)
    seeds = [{patient.seed for patient in plan_patients(tier, seed)} for seed in (3, 4)]
    assert not seeds[0] & seeds[1]


def test_patients_have_names_and_seeds_of_their_own():
    planned = plan_patients("full", 0)
    assert len({patient.name for patient in planned}) == len(planned)
    assert len({patient.seed for patient in planned}) == len(planned)


def test_full_has_a_long_tail():
    sizes = sorted((s.train + s.test for s in syndromes("full") if not s.rare), reverse=True)
    assert sizes[0] == 200
    assert sizes[-1] == 7
    assert {s.rotating for s in syndromes("full") if s.rare} == {2, 3, 4, 5, 6}


def test_an_unknown_tier_names_the_known_ones():
    with pytest.raises(ValueError, match="tiny, demo, full"):
        syndromes("huge")
