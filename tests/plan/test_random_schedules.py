"""Random schedules of crashes, returns, faults, stragglers, failing jobs, suspensions and revocations.

Whatever happens, the world's own assertions hold at every step (one decision per slot, one job per name, one
survivor set per (member, t), always a stated wait) and the round ends with a reason.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fedgestalt_operator.api.round import Deadlines
from fedgestalt_operator.plan import JobPhase, plan

from .simulation import DIE_AFTER, DIE_BEFORE, HOLD, INCOMPLETE, POST, TERMINAL, World, make_round, reason

FAULTS = ("BoundExceeded", "CheckFailed", "SpoolLost", "SurvivorSetInvalid", "ModelMismatch", "TrainerFailed")
SCHEDULES = 400


class Weather:
    """A seeded source of trouble. Each silo's fate at each step is drawn once, holds end after a while."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rate = self.rng.choice([0.0, 0.01, 0.03, 0.1])
        self.fates: dict[tuple[object, ...], tuple[str, float]] = {}
        self.bad_jobs = self.rng.choice([0.0, 0.1, 0.5])

    def fate(self, silo, kind, member, t, a) -> str:
        key = (silo.name, silo.world.enrolment, kind, member, t, a)
        if key not in self.fates:
            fate = POST
            if self.rng.random() < self.rate:
                fate = self.rng.choice([DIE_BEFORE, DIE_AFTER, HOLD, INCOMPLETE, *FAULTS])
                if fate == INCOMPLETE and kind not in ("masked", "rows"):
                    fate = HOLD
            self.fates[key] = (fate, silo.world.now + self.rng.uniform(1, 300))
        fate, until = self.fates[key]
        return POST if fate == HOLD and silo.world.now > until else fate

    def job(self, name: str) -> str:
        return "fail" if self.rng.random() < self.bad_jobs else "ok"

    def disturb(self, world: World) -> None:
        """Silos come back, are revoked and accepted again; the coordinator suspends and resumes."""
        for agent in world.agents.values():
            if not agent.alive and self.rng.random() < 0.05:
                agent.alive = True
            if self.rng.random() < self.rate * 0.1:
                state = world.silos[agent.name]
                world.silos[agent.name] = replace(state, accepted=not state.accepted)
        if self.rng.random() < (0.2 if world.round.suspend else self.rate * 0.1):
            world.round = replace(world.round, suspend=not world.round.suspend)


def play(seed: int) -> World:
    """One schedule to its end."""
    weather = Weather(seed)
    size = weather.rng.choice([3, 4, 4, 4, 5, 7])
    world = World(
        make_round(
            size,
            members=weather.rng.choice([0, 1, 1, 2]),
            rounds=weather.rng.choice([1, 2]),
            deadlines=Deadlines(200.0, 3000.0),
        ),
        hook=weather.fate,
        job_hook=weather.job,
    )
    for _ in range(1500):
        before = len(world.entries)
        made = world.tick(weather.rng.choice([0.5, 1.0, 3.0]))
        if made.status["phase"] in TERMINAL:
            return world
        weather.disturb(world)
        if len(world.entries) == before:
            world.now += made.requeue_after or 1.0
    raise AssertionError(f"seed {seed}: not over, waiting for {made.status['waitingFor']}")


@pytest.mark.parametrize("block", range(4))
def test_every_schedule_ends_with_a_reason_and_leaves_nothing_running(block):
    endings = set()
    for seed in range(block * SCHEDULES // 4, (block + 1) * SCHEDULES // 4):
        world = play(seed)
        status = dict(world.settle().status)
        endings.add(reason(status))
        assert plan(world.round, world.observed, world.now).actions == (), f"seed {seed}"
        assert not [n for n, s in world.jobs.items() if s.phase is JobPhase.RUNNING], f"seed {seed}"
        masked = {
            x.body["digest"].hex()
            for x in world.entries
            if x.kind == "masked" and x.enrolment == world.enrolment
        }
        assert masked <= world.dropped, f"seed {seed}"
        released = world.decisions("released")
        assert len(released) + len(world.decisions("failed")) == 1, f"seed {seed}"
        for x in released:
            assert len(x.body["signers"]) >= 3, f"seed {seed}"
    assert "Released" in endings
    assert len(endings) >= 3, f"the schedules are too tame: {endings}"
