"""How often things are tried again: three counters, each with its bound.

Enrolment attempt: a new roster and fresh keys. Aggregation try: fresh masks for one (member, t). Job restart:
the same inputs, the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from .context import Context, Draft
from .types import CreateJob, JobKind, JobPhase, JobState, Wait

FIRST: Final = 1
MAX_ENROLMENTS: Final = 5
MAX_TRIES: Final = 5
MAX_RESTARTS: Final = 3
WIDER_BOUND: Final = 16


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """A Job's end: its state, or None while it is not over; `exhausted` when every restart failed."""

    state: JobState | None
    exhausted: bool = False


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

    A Job that succeeded without a usable result counts as failed. One that failed and is gone stays failed: the count
    begins at the latest restart that is known.
    """
    known = [restart for restart in range(MAX_RESTARTS + 1) if name_of(restart) in ctx.observed.jobs]
    for restart in range(max(known, default=0), MAX_RESTARTS + 1):
        name = name_of(restart)
        state = ctx.observed.jobs.get(name)
        if state is None:
            out.actions.append(CreateJob(name, kind, {**parameters, "restart": restart}))
        elif state.phase is JobPhase.SUCCEEDED and usable(state):
            return JobOutcome(state)
        elif state.phase is not JobPhase.RUNNING:
            continue
        out.wanted_jobs.add(name)
        then = "Failed: DeadlineExceeded"
        out.waits.append(Wait("hub", f"job {kind.value} ({name})", since, ctx.active_until, then))
        return JobOutcome(None)
    return JobOutcome(None, exhausted=True)
