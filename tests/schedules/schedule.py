"""One random schedule from its seed: trouble for as long as it lasts, then quiet until the round is over."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan.types import TaskState

from ..plan.silos import DIE_AFTER, DIE_BEFORE, HOLD, INCOMPLETE, POST, Silo
from .faults import TakingTurns, Violation, Weather
from .federation import Federation, Reconcilers, Shape, reconciler
from .invariants import TERMINAL

FAULTS = ("BoundExceeded", "CheckFailed", "SpoolLost", "SurvivorSetInvalid", "ModelMismatch", "TrainerFailed")
STEPS = 150
CALM_STEPS = 1500


@dataclass(frozen=True)
class Outcome:
    """How a schedule went. `problem` is empty when everything held."""

    seed: int
    reason: str = ""
    problem: str = ""
    calls: int = 0


def play(
    seed: int, make: Reconcilers = reconciler, log: Callable[[str], None] = lambda line: None
) -> Outcome:
    """Play one schedule; what was violated is the outcome's `problem`."""
    schedule = Schedule(seed, make, log)
    try:
        schedule.run()
    except Violation as violation:
        return Outcome(seed, schedule.world.reason(), str(violation))
    except Exception as error:  # whatever a process of the hub does not catch would be a crash loop
        return Outcome(seed, schedule.world.reason(), f"{type(error).__name__}: {error}")
    return Outcome(seed, schedule.world.reason())


class Schedule:
    """A seeded sequence of moves of everybody."""

    def __init__(
        self, seed: int, make: Reconcilers = reconciler, log: Callable[[str], None] = lambda line: None
    ) -> None:
        self.rng = rng = random.Random(seed)
        self.weather = Weather(rng, rate=rng.choice([0.0, 0.01, 0.03, 0.1]))
        self.weather.busy = rng.choice([0.0, 0.02, 0.1])
        self.weather.stale = rng.choice([0.0, 0.0, 0.1, 0.3])
        self.weather.lag = rng.choice([1.0, 3.0, 8.0])
        shape = Shape(
            silos=rng.choice([3, 4, 4, 4, 4, 4, 5, 7]),
            members=rng.choice([0, 1, 1, 1, 2]),
            rounds=rng.choice([1, 2, 2]),
            start=rng.choice([120, 300]),
            active=rng.choice([600, 3000]),
        )
        self.world = Federation(shape, self.weather, strict=seed % 200 == 7, make=make, log=log)
        self.world.jobs.bad = rng.choice([0.0, 0.0, 0.1, 0.5])
        self.trouble = rng.choice([0.0, 0.02, 0.06])
        self.silo_rate = rng.choice([0.0, 0.01, 0.03, 0.1])
        self.slow = rng.choice([0.0, 0.05, 0.2])
        self.log = log
        self._fates: dict[tuple[object, ...], tuple[str, float]] = {}
        self._heal: list[tuple[float, Callable[[], None]]] = []
        self.world.exchange.hook = self._fate
        self.world.exchange.delayed = self._delay
        self._moving = False

    def run(self) -> None:
        """Trouble, then calm; raises `Violation`."""
        world = self.world
        self.log(f"{world.shape} {self.weather}")
        for _ in range(STEPS):
            if world.over:
                break
            self._step()
        self._calm()
        self._finish()

    # -------------------------------------------------------------- trouble

    def _step(self) -> None:
        world, rng = self.world, self.rng
        self._disturb()
        moves = [*world.silos, "jobs", "hub"]
        rng.shuffle(moves)
        moved = False
        for move in moves:
            if rng.random() < 0.85:
                moved |= self._move(move)
        world.now += rng.choice([0.2, 1.0, 3.0]) if moved else rng.choice([1.0, 5.0, 15.0])

    def _move(self, move: str) -> bool:
        world = self.world
        if move == "jobs":
            return world.jobs.step()
        if move != "hub":
            return world.act(move)
        if not world.news() and world.now < world.hub.due and self.rng.random() > 0.1:
            return False
        self._reconcile()
        return True

    def _reconcile(self) -> None:
        world, rng = self.world, self.rng
        gate = world.hub.gate
        gate.between = self._between
        if rng.random() < self.trouble:
            gate.doomed = rng.randrange(24)
        if rng.random() < self.trouble:
            self._two_at_once()
            return
        before = len(world.exchange.entries)
        clean = world.reconcile()
        self.log(f"{world.now - 1e6:8.1f} hub {'done' if clean else 'failed'} {self._said(before)}")

    def _two_at_once(self) -> None:
        """Two processes look at once: an old one that was believed dead, and its successor."""
        world = self.world
        other = world.process()
        turns = TakingTurns(self.rng)

        def between() -> None:
            self._between()  # they do not see the same
            turns.between()

        world.hub.gate.between = other.gate.between = between
        before = len(world.exchange.entries)
        turns.run(lambda: void(world.reconcile(world.hub)), lambda: void(world.reconcile(other)))
        self.log(f"{world.now - 1e6:8.1f} two hubs at once {self._said(before)}")
        world.hub.gate.between = lambda: None

    def _between(self) -> None:
        """Somebody moves between two calls of the hub."""
        if self._moving or not self.weather.busy or self.rng.random() >= self.weather.busy:
            return
        self._moving = True  # they do not call the hub, but what they do may look at it
        move = self.rng.choice([*self.world.silos, "jobs", "clock"])
        if move == "clock":
            self.world.now += self.rng.choice([0.1, 2.0, 15.0])
        elif move == "jobs":
            self.world.jobs.step()
        else:
            self.world.act(move)
        self._moving = False

    def _said(self, before: int) -> str:
        fresh = self.world.exchange.entries[before:]
        named = [f"{x.kind}({x.enrolment},{x.member},{x.t},{x.attempt})" for x in fresh if x.sender == "hub"]
        return " ".join(named)

    def _fate(self, silo: Silo, kind: str, member: str, t: int, a: int) -> str:
        world, rng = self.world, self.rng
        key = (silo.name, world.exchange.enrolment, kind, member, t, a)
        if key not in self._fates:
            fate = POST
            if rng.random() < self.silo_rate:
                fate = rng.choice([DIE_BEFORE, DIE_AFTER, HOLD, INCOMPLETE, *FAULTS])
                if fate == INCOMPLETE and kind not in ("masked", "rows"):
                    fate = HOLD
                self.log(f"{world.now - 1e6:8.1f} {silo.name}: {kind} {member} {t} {a}: {fate}")
            self._fates[key] = (fate, world.now + rng.uniform(1, 200))
        fate, until = self._fates[key]
        return POST if fate == HOLD and world.now > until else fate

    def _delay(self, sender: str, kind: str) -> float:
        return self.rng.uniform(0.5, 20.0) if self.slow and self.rng.random() < self.slow else 0.0

    def _disturb(self) -> None:
        world, rng = self.world, self.rng
        world.exchange.deliver()
        for entry in [x for x in world.exchange.entries if not x.complete] if self.silo_rate else ():
            if rng.random() < 0.03:
                world.exchange.complete(entry)
        for due, heal in list(self._heal):
            if world.now >= due:
                self._heal.remove((due, heal))
                heal()
        for silo in world.silos.values():
            if not silo.alive and rng.random() < 0.05:
                silo.alive = True
        if rng.random() < (0.2 if world.exchange.round.suspend else 0.0):
            world.suspend(False)
            self.log(f"{world.now - 1e6:8.1f} resumed")
        if rng.random() >= self.trouble:
            return
        kinds = (
            self._part_silo,
            self._part_silo,
            self._part_exchange,
            self._part_cluster,
            self._crash,
            self._lose_watch,
            self._suspend,
            self._wipe,
            self._refuse,
            self._lose_job,
            self._report,
            self._sleep,
        )
        kind = rng.choice(kinds)
        self.log(f"{world.now - 1e6:8.1f} {kind.__name__.strip('_')}")
        kind()

    def _later(self, heal: Callable[[], None], longest: float) -> None:
        self._heal.append((self.world.now + self.rng.uniform(1, longest), heal))

    def _part_silo(self) -> None:
        name = self.rng.choice(list(self.world.silos))
        self.world.away.add(name)
        self._later(lambda: self.world.away.discard(name), 200)

    def _part_exchange(self) -> None:
        self.weather.exchange_away = True
        self._later(lambda: setattr(self.weather, "exchange_away", False), 100)

    def _part_cluster(self) -> None:
        self.weather.cluster_away = True
        self._later(lambda: setattr(self.weather, "cluster_away", False), 100)

    def _crash(self) -> None:
        self.world.restart()

    def _lose_watch(self) -> None:
        self.world.blind = True
        self._later(lambda: setattr(self.world, "blind", False), 300)

    def _suspend(self) -> None:
        self.world.suspend(True)

    def _wipe(self) -> None:
        self.world.wipe()

    def _refuse(self) -> None:
        name = self.rng.choice(list(self.world.silos))
        self.world.accept(name, False)
        self._later(lambda: self.world.accept(name, True), 150)

    def _lose_job(self) -> None:
        self.world.jobs.lose()

    def _report(self) -> None:
        """A site says something of one of its tasks, perhaps later than something newer; or that it failed for good."""
        tasks = self.world.exchange.tasks
        if not tasks:
            return
        name = self.rng.choice(list(tasks))
        phase = self.rng.choice([TaskPhase.RUNNING, TaskPhase.RUNNING, TaskPhase.SUCCEEDED, TaskPhase.FAILED])
        failed = phase is TaskPhase.FAILED
        said = TaskState(phase, "TrainerFailed" if failed else "", self.rng.random())
        if self.world.exchange.report(name, said) and failed:
            for silo in self.world.silos:
                if name.rsplit("-", 1)[0].endswith(f"-{silo}"):
                    self.world.unwell[silo] = float("inf")

    def _sleep(self) -> None:
        """A long pause of the hub: its node is gone for a while."""
        self.world.restart()
        for _ in range(self.rng.randrange(2, 12)):
            self.world.now += 10.0
            self._moving = True
            for name in self.world.silos:
                self.world.act(name)
            self.world.jobs.step()
            self._moving = False

    # -------------------------------------------------------------- calm

    def _calm(self) -> None:
        """All faults have ceased; some silos stay dead. The round must end by itself, on requeue alone or on news."""
        world, rng = self.world, self.rng
        self.log(f"{world.now - 1e6:8.1f} calm")
        self.weather.clear()
        self.silo_rate = self.slow = self.trouble = 0.0
        world.exchange.deliver(everything=True)
        for _, heal in self._heal:
            heal()
        world.away.clear()
        world.hub.gate.doomed, world.hub.gate.between = None, lambda: None
        world.blind = rng.random() < 0.3
        if world.exchange.round.suspend:
            world.suspend(False)
        for silo in world.silos.values():
            silo.alive = silo.alive or rng.random() < 0.7
        for entry in [x for x in world.exchange.entries if not x.complete]:
            if rng.random() < 0.7:
                world.exchange.complete(entry)
        begun = world.now
        bound = 6 * (world.shape.start + 4 * world.shape.straggler) + world.shape.active + 2000.0
        idle = 0
        for _ in range(CALM_STEPS):
            if world.status.get("phase") in TERMINAL and world.hub.failures == 0 and not world.news():
                return
            moved = False
            for name in world.silos:
                moved |= world.act(name)
            moved |= world.jobs.step()
            if world.news() or world.now >= world.hub.due:
                before = len(world.exchange.entries)
                clean = world.reconcile()
                self.log(f"{world.now - 1e6:8.1f} hub {'done' if clean else 'failed'} {self._said(before)}")
                if not clean:
                    raise Violation("the hub fails although nothing is wrong")
                if world.hub.due > world.now:
                    idle = 0
                    world.invariants.settled(world.status, world.now, world.hub.due)
                else:
                    idle = 0 if self._said(before) else idle + 1
                    _must(
                        idle < 4,
                        "the hub looks again and again, as if it decided something, and nothing comes of it",
                    )
            rest = max(0.5, world.hub.due - world.now)
            world.now += 0.5 if moved else min(rest, rng.choice([1.0, 5.0, 30.0]))
            if world.now > begun + bound:
                break
        raise Violation(f"not over {world.now - begun:.0f} s after all faults ceased: {world.status}")

    def _finish(self) -> None:
        """What must be true of a round that is over."""
        world = self.world
        must = _must
        for _ in range(3):
            must(world.reconcile(), "the hub fails at a round that is over")
            world.jobs.step()
        version, decided = world.cluster.version, len(world.exchange.entries)
        must(world.reconcile(), "the hub fails at a round that is over")
        must(world.cluster.version == version, "an idle look at a round that is over writes something")
        must(not world.jobs.running(), f"Jobs run on after the end: {world.jobs.running()}")
        self._no_result_is_lost()
        masked = {
            x.body["digest"].hex()
            for x in world.exchange.entries
            if x.kind == "masked" and x.enrolment == world.exchange.enrolment
        }
        must(masked <= world.exchange.dropped, "masked updates are kept after the end")
        released = world.exchange.decisions("released")
        names = [d["metadata"]["name"] for d in world.cluster.all("Release")]
        must(len(names) == len(released), f"{len(released)} releases were decided, resources: {names}")
        world.restart()  # a process remembers what it wrote of SiloTasks
        must(world.reconcile(), "the hub fails at a round that is over")
        shown = world.statuses()
        world.wipe()
        world.restart()
        must(world.reconcile(), "the hub fails at a round that is over")
        again = world.statuses()
        lost = [f"{k}: {shown[k]}, then {again.get(k)}" for k in shown if shown[k] != again.get(k)]
        must(not lost, f"the status is no projection: {'; '.join(lost)}")
        must(len(world.exchange.entries) == decided, "a decision after the end")

    def _no_result_is_lost(self) -> None:
        world = self.world
        if world.exchange.decisions("failed"):
            return
        stand = {x.body["digest"].hex() for x in world.exchange.decisions("aggregate")}
        owners = [
            {s: d.hex() for s, d in x.body["owners"].items()} for x in world.exchange.decisions("rankings")
        ]
        for name, result in world.jobs.results.items():
            kept = result["digest"] in stand if "digest" in result else result["owners"] in owners
            _must(kept, f"the result of {name} is lost")


def _must(holds: object, what: str) -> None:
    if not holds:
        raise Violation(what)


def void(_: object) -> None:
    """Let a result go."""
