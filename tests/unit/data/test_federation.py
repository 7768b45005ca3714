"""The built-in cohort on disk: the same bytes for the same settings, resumable, and shaped as evaluation needs."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from fedgestalt.data import Cohort, CohortError, Role, load_cohort
from fedgestalt.data.federation import load_federation, make_federation, partition_cohort, vocabulary_bytes
from fedgestalt.data.synthdysm.profiles import hpoa_profiles, invented_profiles, weighted_jaccard
from fedgestalt.data.tiers import plan_patients, syndromes

SETTINGS = {"tier": "tiny", "silos": 4, "split": "near-uniform", "seed": 5}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    make_federation(out, **SETTINGS, workers=2)  # type: ignore[arg-type]
    return out


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_bytes_do_not_depend_on_the_number_of_workers(tiny: Path, tmp_path: Path) -> None:
    make_federation(tmp_path, **SETTINGS, workers=1)  # type: ignore[arg-type]
    assert digests(tmp_path) == digests(tiny)


def test_every_silo_has_a_cohort_that_passes_its_own_checks(tiny: Path) -> None:
    for name in ("east", "north", "south", "west"):
        cohort = load_cohort(tiny / name)
        assert cohort.synthetic
        assert cohort.provenance["profiles"]["SYN:F001"].startswith("OMIM:")


def test_a_patient_lives_in_one_silo(tiny: Path) -> None:
    homes = Counter(p for cohort in load_federation(tiny).values() for p in cohort.patients)
    assert set(homes.values()) == {1}


def test_an_interrupted_call_keeps_what_is_there_and_adds_what_is_missing(tiny: Path, tmp_path: Path) -> None:
    make_federation(tmp_path, **SETTINGS, workers=1)  # type: ignore[arg-type]
    whole = digests(tmp_path)
    victims = sorted((tmp_path / "north" / "photos").iterdir())[:2]
    for victim in victims:
        victim.unlink()
    (tmp_path / "north" / "manifest.csv").unlink()
    calls: list[tuple[int, int]] = []
    make_federation(tmp_path, **SETTINGS, workers=1, progress=lambda a, b: calls.append((a, b)))  # type: ignore[arg-type]
    assert len(calls) == 2
    assert digests(tmp_path) == whole


def test_another_federation_in_the_same_folder_is_refused(tiny: Path) -> None:
    with pytest.raises(CohortError, match="holds another federation"):
        make_federation(tiny, tier="tiny", silos=4, split="near-uniform", seed=6)


def test_the_vocabulary_names_frequent_and_rare_syndromes(tiny: Path) -> None:
    content = json.loads((tiny / "vocabulary.json").read_text())
    assert len(content["trained"]) == 8
    assert len(content["rare"]) == 4
    assert (tiny / "vocabulary.json").read_bytes() == vocabulary_bytes(
        set(content["trained"]), set(content["rare"])
    )


def test_an_existing_cohort_is_dealt_without_loss(tiny: Path, tmp_path: Path) -> None:
    parts = partition_cohort(tiny / "north", tmp_path / "parts", silos=3, split="near-uniform", seed=0)
    source = load_cohort(tiny / "north")
    assert sorted(p.patient for part in parts for p in part.photos) == sorted(
        p.patient for p in source.photos
    )
    assert all(isinstance(load_cohort(part.root), Cohort) for part in parts)


def test_a_folder_without_silos_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="fedgestalt synth"):
        load_federation(tmp_path)


def test_the_demo_tier_has_the_promised_size() -> None:
    classes = syndromes("demo")
    assert (sum(not s.rare for s in classes), sum(s.rare for s in classes)) == (60, 40)
    roles = Counter(p.role for p in plan_patients("demo", 0))
    assert (roles[Role.TRAIN], roles[Role.TEST], roles[Role.ROTATING]) == (60 * 33, 60 * 8, 40 * 8)


@pytest.mark.parametrize("tier", ["tiny", "demo", "full"])
def test_every_split_has_gallery_and_test_of_every_rare_syndrome(tier: str) -> None:
    rare: dict[str, list[tuple[int, ...]]] = {}
    for patient in plan_patients(tier, 3):
        if patient.role is Role.ROTATING:
            rare.setdefault(patient.syndrome.name, []).append(patient.test_splits)
    for name, patients in rare.items():
        assert all(len(splits) < 10 for splits in patients), name
        for split in range(1, 11):
            tested = sum(split in splits for splits in patients)
            assert 0 < tested < len(patients), (name, split)


def test_profiles_of_a_tier_are_not_alike() -> None:
    profiles = [s.profile.terms for s in syndromes("demo")]
    assert max(weighted_jaccard(a, b) for i, a in enumerate(profiles) for b in profiles[:i]) < 0.30


def test_invented_profiles_stay_clear_of_every_tier() -> None:
    for invented in invented_profiles(40, 20260101):
        assert max(weighted_jaccard(invented.terms, other.terms) for other in hpoa_profiles()) < 0.5


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(ValueError, match="tiny, demo, full"):
        syndromes("huge")
