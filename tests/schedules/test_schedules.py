"""A short version of `make schedules`: whatever goes wrong in between, everything holds and every round ends with a reason."""

from collections import Counter

import pytest

from .faults import Violation
from .schedule import Schedule, play

SCHEDULES, BLOCKS = 144, 6


@pytest.mark.parametrize("block", range(BLOCKS))
def test_everything_holds_whatever_goes_wrong(block):
    endings = Counter()
    for seed in range(block * SCHEDULES // BLOCKS, (block + 1) * SCHEDULES // BLOCKS):
        outcome = play(seed)
        again = f"python -m tests.schedules.run --seed {seed} --verbose"
        assert not outcome.problem, f"{outcome.problem}; once more: {again}"
        endings[outcome.reason] += 1
    assert endings["Released"] > SCHEDULES // BLOCKS // 3, f"the schedules are too wild: {endings}"
    assert len(endings) > 1, f"the schedules are too tame: {endings}"


def test_a_schedule_follows_from_its_seed_alone():
    told: list[list[str]] = []
    for _ in range(2):
        told.append([])
        play(11, log=told[-1].append)
    assert told[0] == told[1]
    assert len(told[0]) > 20


def test_a_failed_job_that_the_cluster_deleted_is_not_made_again():
    """Lesson 4: a TTL takes a finished Job away, and that is no reason to run it again."""
    problems = {}
    for seed in range(24):
        schedule = Schedule(seed)
        schedule.world.jobs.bad, schedule.world.jobs.ttl = 0.6, 150.0
        try:
            schedule.run()
        except Violation as violation:
            problems[seed] = str(violation)
    assert not problems
