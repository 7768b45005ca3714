"""How often things are tried again: three counters, each with its bound.

Enrolment attempt: a new roster and fresh keys. Aggregation try: fresh masks for one (member, t). Job restart:
the same inputs, the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from .context import Context, Draft
from .deadlines import start_until
from .types import CreateJob, JobKind, JobPhase, JobState, Pending, Wait

FIRST: Final = 1
MAX_ENROLMENTS: Final = 5
MAX_TRIES: Final = 5
MAX_RESTARTS: Final = 3
WIDER_BOUND: Final = 16
ANOTHER_JOB: Final = "another Job in its place"
LAST_JOB: Final = "it is given up: it was the last restart"


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """A Job's end: its state, or None while it is not over; `exhausted` when every restart failed.

    `stuck`: why the last restart never ran, where that is how it failed.
    """

    state: JobState | None
    exhausted: bool = False
    stuck: str = ""


def run_job(
    ctx: Context,
    out: Draft,
    kind: JobKind,
    name_of: Callable[[int], str],
    parameters: Mapping[str, str | int],
    usable: Callable[[JobState], bool],
    since: float,
) -> JobOutcome:
    """Create the Job if it is not there, wait for it, restart it under the next name if it failed.

    A Job that succeeded without a usable result counts as failed, and so does one whose pod does not run in time: it is
    deleted as no longer wanted, after the next one was created, so that a restart is counted whatever comes between. One
    that failed and is gone stays failed: the count begins at the latest restart that is known.
    """
    known = [restart for restart in range(MAX_RESTARTS + 1) if name_of(restart) in ctx.observed.jobs]
    stuck = ""
    for restart in range(max(known, default=0), MAX_RESTARTS + 1):
        name = name_of(restart)
        state = ctx.observed.jobs.get(name)
        if state is None:
            out.actions.append(CreateJob(name, kind, {**parameters, "restart": restart}))
        elif state.phase is JobPhase.SUCCEEDED and usable(state):
            return JobOutcome(state)
        elif state.phase is not JobPhase.RUNNING:
            stuck = ""
            continue
        elif state.pending is not None and _overdue(state.pending, restart, ctx.now):
            stuck = state.pending.why
            continue
        out.wanted_jobs.add(name)
        out.waits.append(_wait(ctx, kind, name, restart, since, state.pending if state is not None else None))
        return JobOutcome(None)
    return JobOutcome(None, exhausted=True, stuck=stuck)


def _overdue(pending: Pending, restart: int, now: float) -> bool:
    return pending.since is not None and now >= start_until(pending.since, restart)


def _wait(
    ctx: Context, kind: JobKind, name: str, restart: int, since: float, pending: Pending | None
) -> Wait:
    """A Job that runs has until the active deadline; one that does not, until its time to start is over."""
    until, then = ctx.active_until, "Failed: DeadlineExceeded"
    if pending is None:
        return Wait("hub", f"job {kind.value} ({name})", since, until, then)
    if pending.since is not None:
        starts = start_until(pending.since, restart)
        since = pending.since
        if until is None or starts < until:
            until, then = starts, ANOTHER_JOB if restart < MAX_RESTARTS else LAST_JOB
    return Wait("hub", f"job {kind.value} to start: {pending.why} ({name})", since, until, then)
