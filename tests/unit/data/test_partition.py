"""Dealing patients to silos: nobody is lost, nobody crosses, and each scheme keeps its promise."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgestalt.data.partition import Patient, Split, deal, silo_names

SCHEMES = ["near-uniform", "non-overlapping", "dirichlet:0.3", "dirichlet:1"]


@st.composite
def cohorts(draw: st.DrawFn) -> list[Patient]:
    sizes = draw(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=20))
    return [
        Patient(f"{s}-{i}", f"SYN:{s}", rare) for s, (count, rare) in enumerate(sizes) for i in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(
    patients=cohorts(),
    silos=st.sampled_from([4, 8, 16]),
    scheme=st.sampled_from(SCHEMES),
    seed=st.integers(0, 99),
)
def test_every_patient_has_one_home_and_the_seed_decides(
    patients: list[Patient], silos: int, scheme: str, seed: int
) -> None:
    homes = deal(patients, silos, Split.parse(scheme), seed)
    assert homes.keys() == {patient.name for patient in patients}
    assert all(0 <= home < silos for home in homes.values())
    assert homes == deal(patients[::-1], silos, Split.parse(scheme), seed)


@settings(max_examples=40, deadline=None)
@given(patients=cohorts(), silos=st.sampled_from([4, 8, 16]), seed=st.integers(0, 99))
def test_near_uniform_deals_each_syndrome_evenly(patients: list[Patient], silos: int, seed: int) -> None:
    homes = deal(patients, silos, Split.parse("near-uniform"), seed)
    for syndrome in {p.syndrome for p in patients}:
        counts = Counter(homes[p.name] for p in patients if p.syndrome == syndrome)
        assert max(counts[i] for i in range(silos)) - min(counts[i] for i in range(silos)) <= 1


@settings(max_examples=40, deadline=None)
@given(patients=cohorts(), silos=st.sampled_from([4, 8, 16]), seed=st.integers(0, 99))
def test_non_overlapping_gives_each_syndrome_one_home(patients: list[Patient], silos: int, seed: int) -> None:
    homes = deal(patients, silos, Split.parse("non-overlapping"), seed)
    for syndrome in {p.syndrome for p in patients}:
        assert len({homes[p.name] for p in patients if p.syndrome == syndrome}) == 1


@settings(max_examples=40, deadline=None)
@given(patients=cohorts(), silos=st.sampled_from([4, 8, 16]), seed=st.integers(0, 99))
def test_dirichlet_keeps_a_rare_syndrome_in_two_silos_at_most(
    patients: list[Patient], silos: int, seed: int
) -> None:
    homes = deal(patients, silos, Split.parse("dirichlet:0.3"), seed)
    for syndrome in {p.syndrome for p in patients if p.rare}:
        assert len({homes[p.name] for p in patients if p.syndrome == syndrome}) <= 2


def test_another_seed_deals_otherwise() -> None:
    patients = [Patient(f"p{i}", f"SYN:{i % 5}", False) for i in range(60)]
    assert deal(patients, 4, Split.parse("near-uniform"), 1) != deal(
        patients, 4, Split.parse("near-uniform"), 2
    )


@pytest.mark.parametrize("text", ["uniform", "dirichlet", "dirichlet:0", "dirichlet:-1", "dirichlet:x", ""])
def test_an_unknown_scheme_is_refused_with_the_choices(text: str) -> None:
    with pytest.raises(ValueError, match="near-uniform, non-overlapping or dirichlet:A"):
        Split.parse(text)


def test_four_silos_are_the_points_of_the_compass() -> None:
    assert silo_names(4) == ("east", "north", "south", "west")
    assert len(set(silo_names(16))) == 16


def test_two_silos_are_too_few_to_hide_anything() -> None:
    with pytest.raises(ValueError, match="3 to"):
        silo_names(2)


def test_a_patient_who_is_listed_twice_is_refused() -> None:
    twice = [Patient("p", "SYN:1", False), Patient("p", "SYN:2", False)]
    with pytest.raises(ValueError, match="listed twice"):
        deal(twice, 4, Split.parse("near-uniform"), 0)
