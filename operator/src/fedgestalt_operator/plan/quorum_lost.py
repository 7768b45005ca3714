"""When so many silos have failed for good that waiting for the deadline would be waiting for nothing."""

from __future__ import annotations

from collections.abc import Collection

from ..api.reasons import RoundReason
from ..api.task import TaskPhase
from .context import Context, Draft


def quorum_lost(ctx: Context, out: Draft, failed: Collection[str], otherwise: str = "fault") -> None:
    """Fail the round and name the silos and their faults; `otherwise` stands for those without one."""
    faults = {f.sender: str(f.body.get("reason", "fault")) for f in ctx.board.faults(ctx.enrolment)}
    tasks = ctx.observed.tasks
    for silo in failed:
        task = tasks.get(ctx.task(silo))
        if silo not in faults and task is not None and task.phase is TaskPhase.FAILED:
            faults[silo] = task.reason or "task failed"
    named = ", ".join(f"{silo} ({faults.get(silo, otherwise)})" for silo in sorted(failed))
    out.fail(RoundReason.QUORUM_LOST, f"{ctx.need} of {len(ctx.roster)} silos are needed; failed: {named}")
