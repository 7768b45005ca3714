"""Schedules are worth what they find: each plausible bug of planner and executor is found within 2,000 of them."""

import pytest

from .mutants import MUTANTS
from .schedule import Outcome, play

MOST = 2000


def first_that_finds(mutant, seeds: range) -> Outcome | None:
    """The first schedule in which something is violated."""
    for seed in seeds:
        with pytest.MonkeyPatch.context() as patched:
            mutant(patched.setattr)
            outcome = play(seed)
        if outcome.problem:
            return outcome
    return None


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_found_by_a_schedule_that_the_original_passes(mutant, record_property):
    found = first_that_finds(mutant, range(MOST))
    assert found is not None, f"{mutant.__doc__} Not found by {MOST} schedules"
    record_property("schedules", found.seed + 1)
    print(f"{mutant.__name__}: found by schedule {found.seed + 1}: {found.problem[:200]}")
    assert not play(found.seed).problem
