"""The errors of this room. Each knows the exit code a workload ends with when it is not caught."""

from typing import Self

from .exit_codes import ExitCode


class TrainingError(Exception):
    """Base of the room's errors; the message names what failed, where, and how to mend it."""

    exit_code: ExitCode = ExitCode.BAD_INPUT


class NonFiniteError(TrainingError):
    """A loss or a tensor became NaN or infinite."""

    exit_code = ExitCode.NON_FINITE


class BoundExceededError(TrainingError):
    """An update lies beyond its public bound, so it cannot be encoded (and is never clipped)."""

    exit_code = ExitCode.BOUND_EXCEEDED


class DataError(TrainingError):
    """Photos or labels that cannot be trained on."""

    exit_code = ExitCode.BAD_DATA


class WeightsError(TrainingError):
    """Initial weights are missing, have another digest, or do not fit the extractor."""

    exit_code = ExitCode.WEIGHTS_MISSING


class CheckpointError(TrainingError):
    """A checkpoint that cannot be written or does not belong to this computation."""

    exit_code = ExitCode.STORAGE


class AgentUnreachableError(TrainingError):
    """The silo agent did not answer within the limit."""

    exit_code = ExitCode.AGENT_UNREACHABLE


class AgentRefusedError(TrainingError):
    """The silo agent answered a request with an error. `code` is machine-readable."""

    exit_code = ExitCode.AGENT_REFUSED

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Pickled by its two arguments: Ray carries it from a worker."""
        return type(self), (self.code, self.message)


class StoppedError(TrainingError):
    """The agent asked the workload to stop; its checkpoint lets it continue later."""

    exit_code = ExitCode.STOPPED


class WorkersFailedError(TrainingError):
    """Ray could not run the training workers to the end."""

    exit_code = ExitCode.WORKERS_FAILED
