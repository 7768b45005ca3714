"""The planner: pure functions from what is wished and seen to what is decided, done and shown.

    plan(round, observed, now) -> Plan(decisions, actions, status, requeue_after)

Decisions become hub-signed messages on the board (docs/reference/protocol.md); the first in a slot wins.
Nothing here reads a clock, a file, a socket or a random number, so that any moment of a round can be replayed
and explained.
"""

from .planner import plan
from .types import (
    BaseRelease,
    CreateJob,
    Decision,
    DeleteJob,
    DeleteRound,
    DropBlobs,
    EnsureTask,
    Entry,
    JobKind,
    JobPhase,
    JobState,
    Observed,
    Pending,
    Plan,
    PublishRelease,
    SiloState,
    TaskState,
    Wait,
)

__all__ = [
    "BaseRelease",
    "CreateJob",
    "Decision",
    "DeleteJob",
    "DeleteRound",
    "DropBlobs",
    "EnsureTask",
    "Entry",
    "JobKind",
    "JobPhase",
    "JobState",
    "Observed",
    "Pending",
    "Plan",
    "PublishRelease",
    "SiloState",
    "TaskState",
    "Wait",
    "plan",
]
