"""Exit codes of the training and encoding workloads. Operators turn them into closed reasons."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a workload's exit code says. Codes 64 and up leave 1 and 2 to Python and its argument parser.

    | code | meaning | worth a retry |
    |---|---|---|
    | 0 | finished: every member is trained, or every row is handed over | - |
    | 64 | a task file, configuration or cohort that cannot be used | no |
    | 65 | initial weights are missing or have another digest | no |
    | 66 | photos or labels cannot be trained on (none found, one class only, too few) | no |
    | 69 | the silo agent did not answer within the limit | yes |
    | 70 | a loss or an update is NaN or infinite | no |
    | 71 | an update lies beyond its public bound | no |
    | 72 | the agent refused a request | no |
    | 73 | a checkpoint or the work directory cannot be written or read | yes |
    | 75 | the agent asked to stop (suspended, withdrawn); resume by starting again | yes |
    | 76 | Ray could not run the workers | yes |
    """

    OK = 0
    BAD_INPUT = 64
    WEIGHTS_MISSING = 65
    BAD_DATA = 66
    AGENT_UNREACHABLE = 69
    NON_FINITE = 70
    BOUND_EXCEEDED = 71
    AGENT_REFUSED = 72
    STORAGE = 73
    STOPPED = 75
    WORKERS_FAILED = 76


RETRYABLE = frozenset(
    {ExitCode.AGENT_UNREACHABLE, ExitCode.STORAGE, ExitCode.STOPPED, ExitCode.WORKERS_FAILED}
)
"""Codes after which the same command, started again, can succeed."""
