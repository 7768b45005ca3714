"""What the exchange refuses, by stable code: one table for the server and the client."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """Problem codes (RFC 9457: the last part of ``type``). They are stable: clients decide by them."""

    UNAUTHENTICATED = "Unauthenticated"
    CLOCK_SKEWED = "ClockSkewed"
    REVOKED = "Revoked"
    FORBIDDEN = "Forbidden"
    NOT_IN_ROUND = "NotInRound"
    ROUND_NOT_OPEN = "RoundNotOpen"
    INVALID = "Invalid"
    MESSAGE_INVALID = "MessageInvalid"
    SIGNATURE_INVALID = "SignatureInvalid"
    SLOT_TAKEN = "SlotTaken"
    ROUND_OVER = "RoundOver"
    TOO_LARGE = "TooLarge"
    OFFSET_MISMATCH = "OffsetMismatch"
    DIGEST_MISMATCH = "DigestMismatch"
    BLOB_UNKNOWN = "BlobUnknown"
    BLOB_GONE = "BlobGone"
    RANGE_INVALID = "RangeInvalid"
    QUOTA_EXCEEDED = "QuotaExceeded"
    TASK_UNKNOWN = "TaskUnknown"
    TASK_TAKEN = "TaskTaken"
    RELEASE_TAKEN = "ReleaseTaken"
    EPOCH_UNKNOWN = "EpochUnknown"
    EPOCH_ENDED = "EpochEnded"
    EPOCH_EMPTY = "EpochEmpty"
    NOT_IN_EPOCH = "NotInEpoch"
    ROWS_INVALID = "RowsInvalid"
    HANDLE_TAKEN = "HandleTaken"
    HANDLE_WITHDRAWN = "HandleWithdrawn"
    BUDGET_SPENT = "BudgetSpent"
    FINDING_UNKNOWN = "FindingUnknown"
    NOT_FOUND = "NotFound"
    BOARD_FULL = "BoardFull"
    REGISTRY_UNREADABLE = "RegistryUnreadable"
    INTERNAL = "Internal"


# code -> (HTTP status, title, fix)
PROBLEMS: Final[dict[Code, tuple[int, str, str]]] = {
    Code.UNAUTHENTICATED: (
        401,
        "The token is missing or does not hold",
        "Sign the token with the registered identity, the enrolment's delegated key or the hub's key.",
    ),
    Code.CLOCK_SKEWED: (
        401,
        "The clocks differ by more than five minutes",
        "Set the machine's clock (NTP), then try again.",
    ),
    Code.REVOKED: (
        403,
        "The silo is not accepted",
        "Ask the hub's platform team about the Silo resource of this name.",
    ),
    Code.FORBIDDEN: (403, "Not allowed to this role", "Use the credential of the role that may do this."),
    Code.NOT_IN_ROUND: (
        403,
        "The round's computation does not name this silo with this identity",
        "Ask the coordinator which silos the round names.",
    ),
    Code.ROUND_NOT_OPEN: (
        409,
        "The round's computation is not on the board yet",
        "Wait until the hub has posted it.",
    ),
    Code.INVALID: (400, "The request is malformed", "Compare it with the protocol reference."),
    Code.MESSAGE_INVALID: (
        422,
        "The message breaks the protocol",
        "Compare its kind, coordinates and body with the protocol reference.",
    ),
    Code.SIGNATURE_INVALID: (
        422,
        "The signature does not hold for the sender of this enrolment",
        "Sign with the delegated key of the enrolment (`enrol`: with the identity).",
    ),
    Code.SLOT_TAKEN: (
        409,
        "The slot holds other bytes already",
        "A slot is written once: send the same bytes again, or start a new try or enrolment.",
    ),
    Code.ROUND_OVER: (
        409,
        "The hub ended the round: it decides nothing more there",
        "Read the board: its last decision, `released` or `failed`, is what holds.",
    ),
    Code.TOO_LARGE: (
        413,
        "Larger than the limit",
        "Messages hold at most 256 KiB, chunks of blobs 1 MiB, tasks 64 KiB.",
    ),
    Code.OFFSET_MISMATCH: (
        409,
        "The chunk does not begin where the upload ends",
        "Ask for the offset (HEAD) and go on from there.",
    ),
    Code.DIGEST_MISMATCH: (
        422,
        "The bytes do not have the digest that names them",
        "The upload was dropped: send it again from the start.",
    ),
    Code.BLOB_UNKNOWN: (404, "No complete blob of this digest", "Wait until its message is complete."),
    Code.BLOB_GONE: (410, "The blob was deleted", "Its use is over; only the digest is kept."),
    Code.RANGE_INVALID: (416, "The range lies outside of the blob", "Ask for bytes that exist."),
    Code.QUOTA_EXCEEDED: (
        403,
        "The sender's quota in this round is used up",
        "No wait mends it: run the round again with fewer members or communication rounds; who has withdrawn too many "
        "cases asks for a Rotate round.",
    ),
    Code.TASK_UNKNOWN: (404, "No task of this name", "List the tasks again."),
    Code.TASK_TAKEN: (
        409,
        "The name stands for another task already",
        "A task is given once: send the same spec again, or give the task another name.",
    ),
    Code.RELEASE_TAKEN: (
        409,
        "The name stands for another release already",
        "A release is written once: send the same spec again, or give the release another name.",
    ),
    Code.EPOCH_UNKNOWN: (
        404,
        "The exchange answers no queries of this epoch",
        "Use a release whose epoch stands, or wait until the hub has opened this one.",
    ),
    Code.EPOCH_ENDED: (
        410,
        "The epoch was rotated: another release succeeds it",
        "Use the release that succeeds it; who is not in that release needs an Adopt round.",
    ),
    Code.EPOCH_EMPTY: (
        409,
        "The epoch has no rows yet",
        "Wait until the hub has taken the rows of the release's round into the epoch.",
    ),
    Code.NOT_IN_EPOCH: (
        403,
        "The silo with this identity is no member of the epoch",
        "Ask the coordinator which silos the release names; a newcomer needs an Adopt round.",
    ),
    Code.ROWS_INVALID: (
        422,
        "The rows cannot be compared in this epoch",
        "Mask unit embeddings with the frame of this epoch and send them in the form of the reference.",
    ),
    Code.HANDLE_TAKEN: (
        409,
        "Another silo has a case of this handle",
        "Derive handles with the site's own key of this epoch.",
    ),
    Code.HANDLE_WITHDRAWN: (
        409,
        "A case of this handle was withdrawn in this epoch",
        "Leave the case out; a withdrawal stands for the lifetime of the epoch.",
    ),
    Code.BUDGET_SPENT: (
        403,
        "The silo's budget of this epoch is spent",
        "Answer from the site's own gallery and ask the coordinator for a Rotate round.",
    ),
    Code.FINDING_UNKNOWN: (
        404,
        "The silo has no finding of this name",
        "Read the findings again: a withdrawal or a new look at the cases may have changed them.",
    ),
    Code.NOT_FOUND: (404, "No such resource", "Compare the path with the protocol reference."),
    Code.BOARD_FULL: (
        507,
        "The exchange's disk is full",
        "Wait: nothing is lost. The hub's platform team must make room.",
    ),
    Code.REGISTRY_UNREADABLE: (
        503,
        "The list of silos cannot be read",
        "The hub's platform team must mend the file of silos; nobody is let in meanwhile.",
    ),
    Code.INTERNAL: (500, "The exchange failed", "Try again; the exchange's log names the cause."),
}


class ExchangeError(Exception):
    """Base of this package's errors."""


@dataclass
class RefusedError(ExchangeError):
    """The exchange said no: raised by storage and server, sent as problem+json, raised by the client.

    Attributes:
        code: the stable code.
        detail: what exactly, for a reader; never a secret.
        offset: for ``OffsetMismatch``, where the upload ends.
        retry_after: seconds to wait, where waiting helps (``BoardFull``).
        successor: for ``EpochEnded``, the digest (hex) of the release that succeeds.
    """

    code: Code
    detail: str
    offset: int | None = None
    retry_after: float | None = None
    successor: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return PROBLEMS[self.code][0]

    @property
    def fix(self) -> str:
        """What to do about it."""
        return PROBLEMS[self.code][2]

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}. {self.fix}"


class SlotTakenError(RefusedError):
    """The slot holds other bytes."""


class RoundOverError(RefusedError):
    """The hub has ended the round."""


class TaskTakenError(RefusedError):
    """The silo has a task of this name with another spec."""


class ReleaseTakenError(RefusedError):
    """The name stands for another release."""


class BoardFullError(RefusedError):
    """The exchange's disk is full; waiting helps."""


class QuotaExceededError(RefusedError):
    """The sender has used up what is allowed to it; no wait mends that."""


class ClockSkewedError(RefusedError):
    """This machine's clock and the exchange's differ by more than the tolerance."""


class RevokedError(RefusedError):
    """The hub no longer accepts this silo."""


class BlobGoneError(RefusedError):
    """The blob was deleted after its use."""


class EpochUnknownError(RefusedError):
    """The exchange answers no queries of this epoch."""


class EpochEndedError(EpochUnknownError):
    """The epoch was rotated; ``successor`` is the release to use instead."""


class BudgetSpentError(RefusedError):
    """The silo's budget of the epoch is spent."""


_CLASSES: Final[dict[Code, type[RefusedError]]] = {
    Code.SLOT_TAKEN: SlotTakenError,
    Code.ROUND_OVER: RoundOverError,
    Code.TASK_TAKEN: TaskTakenError,
    Code.RELEASE_TAKEN: ReleaseTakenError,
    Code.BOARD_FULL: BoardFullError,
    Code.QUOTA_EXCEEDED: QuotaExceededError,
    Code.CLOCK_SKEWED: ClockSkewedError,
    Code.REVOKED: RevokedError,
    Code.BLOB_GONE: BlobGoneError,
    Code.EPOCH_UNKNOWN: EpochUnknownError,
    Code.EPOCH_ENDED: EpochEndedError,
    Code.BUDGET_SPENT: BudgetSpentError,
}


def refused(
    code: Code,
    detail: str,
    *,
    offset: int | None = None,
    retry_after: float | None = None,
    successor: str | None = None,
) -> RefusedError:
    """The error of ``code``: of its own class where callers tell it apart."""
    return _CLASSES.get(code, RefusedError)(code, detail, offset, retry_after, successor)


class UnreachableError(ExchangeError):
    """The exchange did not answer within the deadline."""


class BoardRewoundError(ExchangeError):
    """The board does not extend what this client saw of it: a new enrolment is needed."""


class PositionDamagedError(ExchangeError):
    """What this client remembered of a board cannot be read; its own disk is to blame, and no wait mends it."""


class UntrustedExchangeError(ExchangeError):
    """The exchange answered with something that its pinned key or a digest does not cover."""
