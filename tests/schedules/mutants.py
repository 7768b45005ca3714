"""Plausible bugs of planner and executor, put in by patching. Each must be found by some schedule.

A mutant is put in anew for each schedule: what it remembers is gone then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fedgestalt_operator.api.round import FederationRound, Phase
from fedgestalt_operator.hub import reconcile
from fedgestalt_operator.hub.act import Executor, _task
from fedgestalt_operator.hub.ports import ExchangeUnavailable
from fedgestalt_operator.hub.reconcile import RoundReconciler
from fedgestalt_operator.plan import aggregation, matching, planner, training
from fedgestalt_operator.plan.attempts import MAX_RESTARTS, JobOutcome
from fedgestalt_operator.plan.context import Context, Draft
from fedgestalt_operator.plan.deadlines import Clock
from fedgestalt_operator.plan.kinds import Kind
from fedgestalt_operator.plan.types import (
    CreateJob,
    Decision,
    DeleteJob,
    EnsureTask,
    Entry,
    JobKind,
    JobPhase,
    JobState,
    Observed,
    Plan,
    Wait,
)
from fedgestalt_operator.plan.waiting import Gathered

Patch = Callable[[Any, str, Any], None]


def acts_before_it_decides(patch: Patch) -> None:
    """It plans on until it comes to rest, does all that, and posts what it decided after that."""
    plan, post, act = reconcile.plan, Executor.post, Executor.act
    held: list[tuple[Any, ...]] = []

    def hasty(round: FederationRound, observed: Observed, now: float) -> Plan:
        made = plan(round, observed, now)
        if not made.decisions or made.decisions[0].kind == Kind.COMPUTATION:
            return made
        fresh = [
            Entry(10_000 + i, now, d.enrolment, d.member, d.t, d.attempt, d.kind, "hub", d.body)
            for i, d in enumerate(made.decisions)
        ]
        follows = plan(round, replace(observed, entries=(*observed.entries, *fresh)), now)
        return replace(made, actions=(*made.actions, *follows.actions))

    def late_post(self: Executor, *decision: Any) -> None:
        held.append((self, *decision))

    def early_act(self: Executor, *actions: Any) -> set[str]:
        try:
            done = act(self, *actions)
            for one in held:
                post(*one)
            return done
        finally:
            held.clear()

    patch(reconcile, "plan", hasty)
    patch(Executor, "post", late_post)
    patch(Executor, "act", early_act)


def counts_jobs(patch: Patch) -> None:
    """If it sees no Job that runs it makes one more, numbered by how many it has made: a stale list makes two of one."""
    made: Counter[str] = Counter()

    def run_job(
        ctx: Context,
        out: Draft,
        kind: JobKind,
        name_of: Callable[[int], str],
        parameters: Mapping[str, str | int],
        usable: Callable[[JobState], bool],
        since: float,
    ) -> JobOutcome:
        question = name_of(0)[:-1]
        mine = {n: s for n, s in ctx.observed.jobs.items() if n.startswith(question)}
        good = [s for s in mine.values() if s.phase is JobPhase.SUCCEEDED and usable(s)]
        running = [n for n, s in mine.items() if s.phase is JobPhase.RUNNING]
        if good:
            return JobOutcome(good[0])
        if len(mine) > MAX_RESTARTS:
            return JobOutcome(None, exhausted=True)
        name = running[0] if running else name_of(made[question])
        if not running:
            out.actions.append(CreateJob(name, kind, {**parameters, "restart": made[question]}))
            made[question] += 1
        out.wanted_jobs.add(name)
        out.waits.append(Wait("hub", f"job {kind.value} ({name})", since, ctx.active_until, "Failed"))
        return JobOutcome(None)

    patch(aggregation, "run_job", run_job)
    patch(matching, "run_job", run_job)


def creates_a_finished_job_anew(patch: Patch) -> None:
    """A Job that failed is deleted and made again under its old name."""
    run_job = aggregation.run_job

    def again(
        ctx: Context, out: Draft, kind: JobKind, name_of: Callable[[int], str], *rest: Any
    ) -> JobOutcome:
        state = ctx.observed.jobs.get(name_of(0))
        if state is not None and state.phase is JobPhase.FAILED:
            out.actions += [DeleteJob(name_of(0)), CreateJob(name_of(0), kind, rest[0])]
            out.waits.append(
                Wait("hub", f"job {kind.value} ({name_of(0)})", rest[2], ctx.active_until, "Failed")
            )
            return JobOutcome(None)
        return run_job(ctx, out, kind, name_of, *rest)

    patch(aggregation, "run_job", again)
    patch(matching, "run_job", again)


def believes_a_post_that_was_not_answered(patch: Patch) -> None:
    """What became of a post is unknown: it takes it for done and does not read again."""
    post = Executor.post

    def once(self: Executor, round: FederationRound, decision: Decision, base: Any) -> None:
        done = self.exchange.__dict__.setdefault("believed", set())
        if decision.slot in done:
            return
        try:
            post(self, round, decision, base)
        except ExchangeUnavailable:
            done.add(decision.slot)

    patch(Executor, "post", once)


def chooses_survivors_anew(patch: Patch) -> None:
    """A later try takes whoever is there, whatever survivor set an earlier one had."""
    current_try = aggregation.current_try
    patch(aggregation, "current_try", lambda *at: replace(current_try(*at), pinned=None))


def deadlines_run_while_suspended(patch: Patch) -> None:
    """Deadlines do not stand still."""
    patch(Clock, "paused", lambda self, since: 0.0)


def a_lost_silo_voids_what_stood(patch: Patch) -> None:
    """The loss of a silo starts a fresh enrolment even after the one before was complete."""
    step = planner.step

    def strict(ctx: Context, out: Draft, at: Phase) -> None:
        step(ctx, out, at)
        lost = [silo for silo in ctx.roster if not ctx.live(silo)]
        if at is Phase.TRAINING and lost:
            out.decide(ctx.at, Kind.VOID, {"reason": "SiloLost", "lost": lost})

    patch(planner, "step", strict)


def says_before_it_does(patch: Patch) -> None:
    """The status is written before the actions that it speaks of are done."""
    act, show = Executor.act, RoundReconciler._show
    held: list[tuple[Any, ...]] = []

    def later(self: Executor, *actions: Any) -> set[str]:
        held.append((self, *actions))
        return set()

    def first(self: RoundReconciler, *status: Any) -> None:
        try:
            show(self, *status)
            for one in held:
                act(*one)
        finally:
            held.clear()

    patch(Executor, "act", later)
    patch(RoundReconciler, "_show", first)


def drops_what_a_survivor_still_needs(patch: Patch) -> None:
    """Masked updates go as soon as their sum is there, not when every survivor has confirmed the new model."""
    tries = training._tries

    def eager(ctx: Context) -> Iterator[tuple[Any, bool]]:
        for at, needed in tries(ctx):
            yield at, needed and ctx.board.hub(Kind.AGGREGATE, at) is None

    patch(training, "_tries", eager)


def stragglers_are_timed_from_the_start(patch: Patch) -> None:
    """The straggler timer runs from when the enrolment stood, not from the first arrival."""
    gather = aggregation.gather

    def impatient(ctx: Context, arrived: Any, expected: Collection[str], **rest: Any) -> Gathered:
        step = gather(ctx, arrived, expected, **rest)
        if ctx.active_since is None or step.since is None:
            return step
        until = ctx.active_since + ctx.round.quorum.straggler_timeout
        out_of_time = ctx.now >= until
        return replace(
            step,
            since=ctx.active_since,
            until=until,
            timed_out=out_of_time,
            settled=step.settled or out_of_time,
        )

    patch(aggregation, "gather", impatient)


def counts_incomplete_uploads(patch: Patch) -> None:
    """An upload counts once it is announced, whether or not all of it has arrived."""
    patch(aggregation, "complete", dict)


def gives_tasks_before_they_can_be_seen(patch: Patch) -> None:
    """Silos get their tasks before the resources stand in the cluster."""
    act = Executor.act

    def hasty(self: Executor, round: FederationRound, actions: Iterable[Any], base: Any) -> set[str]:
        self.exchange.put_tasks([_task(round, a) for a in actions if isinstance(a, EnsureTask)])
        return act(self, round, actions, base)

    patch(Executor, "act", hasty)


def sleeps_through_the_ends_of_waits(patch: Patch) -> None:
    """It looks again only when it hears news, or at the resync."""
    requeue = planner._requeue
    patch(planner, "_requeue", lambda ctx, out: requeue(ctx, out) and 300.0)


MUTANTS: tuple[Callable[[Patch], None], ...] = (
    acts_before_it_decides,
    counts_jobs,
    creates_a_finished_job_anew,
    believes_a_post_that_was_not_answered,
    chooses_survivors_anew,
    deadlines_run_while_suspended,
    a_lost_silo_voids_what_stood,
    says_before_it_does,
    drops_what_a_survivor_still_needs,
    stragglers_are_timed_from_the_start,
    counts_incomplete_uploads,
    gives_tasks_before_they_can_be_seen,
    sleeps_through_the_ends_of_waits,
)
