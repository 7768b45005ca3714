"""Waiting for the same kind of message from several silos: who is missing, until when, and what follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..api.task import TaskPhase
from .context import Context, Draft
from .deadlines import first
from .types import Entry, Wait

GO_ON = "go on without it"
FAIL = "Failed: DeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Gathered:
    """The state of one gathering.

    `enough`: the needed number has arrived. `settled`: nobody is waited for any longer, because all live
    silos answered or the straggler timeout passed. `complete`: both. `hopeless`: so many
    posted a fault instead that enough can no longer arrive.
    """

    arrived: Mapping[str, Entry]
    missing: tuple[str, ...]
    enough: bool
    timed_out: bool
    settled: bool
    since: float | None
    until: float | None
    hopeless: bool

    @property
    def complete(self) -> bool:
        """Whether the step can go on."""
        return self.enough and self.settled


def gather(
    ctx: Context,
    arrived: Mapping[str, Entry],
    expected: Collection[str],
    *,
    needed: int,
    floor: float | None = None,
    excused: Collection[str] = (),
) -> Gathered:
    """Judge a gathering of one message each from `expected`.

    The straggler timer runs from the first arrival, or from `floor` where silos need no time to compute; a
    resume starts it anew. Lost and excused silos are not waited for, but what they sent counts.
    """
    here = {silo: arrived[silo] for silo in sorted(expected) if silo in arrived}
    missing = tuple(silo for silo in sorted(expected) if silo not in arrived)
    since = first(e.received for e in here.values())
    if since is None:
        since = floor
    resumed = ctx.clock.last_resumed()
    if since is not None and resumed is not None:
        since = max(since, resumed)
    until = None if since is None else since + ctx.round.quorum.straggler_timeout
    timed_out = until is not None and ctx.now >= until
    awaited = [silo for silo in missing if silo not in excused and ctx.live(silo)]
    possible = len(here) + sum(silo not in excused for silo in missing)
    return Gathered(
        arrived=here,
        missing=missing,
        enough=len(here) >= needed,
        timed_out=timed_out,
        settled=timed_out or not awaited,
        since=since,
        until=until,
        hopeless=possible < needed,
    )


def state_waits(
    ctx: Context, out: Draft, gathered: Gathered, what: str, began: float, then: str = GO_ON
) -> None:
    """Say for every missing silo that it is waited for; where time alone does not help, until the active
    deadline.
    """
    bounded = gathered.enough or then != GO_ON
    for silo in gathered.missing:
        until = gathered.until if bounded and not gathered.timed_out else None
        if until is not None:
            wait = Wait(silo, _what(ctx, silo, what), began, until, then)
        else:
            wait = Wait(silo, _what(ctx, silo, what), began, ctx.active_until, FAIL)
        out.waits.append(wait)


def _what(ctx: Context, silo: str, what: str) -> str:
    """What is waited for, with the reason why it may not come."""
    task = ctx.observed.tasks.get(ctx.task(silo))
    faults = [f for f in ctx.board.faults(ctx.enrolment) if f.sender == silo]
    if silo in ctx.out and faults:
        return f"{what} ({faults[-1].body.get('reason', 'fault')})"
    state = ctx.observed.silos.get(silo)
    if state is not None and not state.accepted:
        return f"{what} (NotAccepted)"
    if task is not None and task.reason and task.phase in (TaskPhase.FAILED, TaskPhase.PENDING):
        return f"{what} ({task.reason})"
    return what if ctx.live(silo) else f"{what} (LinkLost)"
