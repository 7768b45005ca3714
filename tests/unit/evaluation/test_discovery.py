"""Clusters held against the truth: told, true, false, and which held-out syndromes were found."""

from __future__ import annotations

from fedgestalt.evaluation.discovery import Case, Judgement


def cluster(*cases: str) -> list[Case]:
    """`east:R1` is a case of the syndrome R1 in the silo east."""
    return [Case(*case.split(":")) for case in cases]


TRUE = cluster("east:R1", "north:R1", "west:R1", "west:R9")
MIXED = cluster("east:R2", "north:R3", "west:R4")
ONE_OWNER = cluster("east:R5", "east:R5", "north:R6", "west:R7")
STRANGER = cluster("east:R8", "north:R8", "west:R9")
SMALL = cluster("east:R1", "north:R1")


def test_a_cluster_is_true_if_three_owners_share_its_majority_syndrome() -> None:
    found = Judgement.of([TRUE], {"R1", "R2"}, TRUE + MIXED)
    assert found == Judgement(told=1, true=1, false=0, found=1, reachable=1)
    assert found.false_rate == 0.0


def test_a_mixture_and_one_owners_patients_among_strangers_are_false() -> None:
    found = Judgement.of([MIXED, ONE_OWNER, TRUE], {"R1"}, ())
    assert (found.told, found.true, found.false) == (3, 1, 2)
    assert found.false_rate == 2 / 3


def test_two_owners_with_a_stranger_at_the_third_are_neither() -> None:
    assert Judgement.of([STRANGER], {"R8"}, ()) == Judgement(1, 0, 0, 0, 0)


def test_a_cluster_of_two_owners_is_not_told() -> None:
    found = Judgement.of([SMALL], {"R1"}, SMALL)
    assert found.told == 0
    assert found.false_rate is None


def test_a_true_cluster_of_a_syndrome_that_has_a_name_finds_nothing_held_out() -> None:
    found = Judgement.of([TRUE], {"R2"}, TRUE)
    assert (found.true, found.found) == (1, 0)
