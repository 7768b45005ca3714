"""The closed lists of the protocol: kinds of messages, who posts them, reasons of faults."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

HUB: Final = "hub"
EVALUATION: Final = "evaluation"


class Kind(StrEnum):
    """Every kind of message of docs/reference/protocol.md."""

    COMPUTATION = "computation"
    ENROL = "enrol"
    ROSTER = "roster"
    ENDORSE = "endorse"
    OPENING = "opening"
    CONFIRM = "confirm"
    ENROLLED = "enrolled"
    ADMIT = "admit"
    WELCOME = "welcome"
    VOID = "void"
    KEYS = "keys"
    KEYSET = "keyset"
    SHARES = "shares"
    SENDERS = "senders"
    MASKED = "masked"
    SURVIVORS = "survivors"
    ACCEPT = "accept"
    REVEAL = "reveal"
    AGGREGATE = "aggregate"
    MODEL = "model"
    ADVANCE = "advance"
    RETRY = "retry"
    SKIP = "skip"
    STAGE = "stage"
    ROWS = "rows"
    ROWS_CLOSED = "rows-closed"
    RANKINGS = "rankings"
    SCORE = "score"
    MANIFEST = "manifest"
    SIGN = "sign"
    RELEASED = "released"
    FAILED = "failed"
    FAULT = "fault"


SILO_KINDS: Final = frozenset(
    {
        Kind.ENROL, Kind.ENDORSE, Kind.OPENING, Kind.CONFIRM, Kind.KEYS, Kind.SHARES, Kind.MASKED,
        Kind.ACCEPT, Kind.REVEAL, Kind.MODEL, Kind.ROWS, Kind.SCORE, Kind.SIGN, Kind.FAULT, Kind.ADMIT,
        Kind.WELCOME,
    }
)  # fmt: skip
"""Kinds that silos post; all others are the hub's."""

AGGREGATION_KINDS: Final = frozenset(
    {
        Kind.KEYS, Kind.KEYSET, Kind.SHARES, Kind.SENDERS, Kind.MASKED, Kind.SURVIVORS, Kind.ACCEPT,
        Kind.REVEAL, Kind.AGGREGATE, Kind.MODEL, Kind.ADVANCE, Kind.RETRY, Kind.SKIP,
    }
)  # fmt: skip
"""Kinds with a member, a communication round t >= 1 and a try >= 1."""


class FaultReason(StrEnum):
    """Why a silo cannot go on; the closed list of docs/reference/protocol.md."""

    COMMITMENT_MISMATCH = "CommitmentMismatch"
    ENDORSEMENT_MISMATCH = "EndorsementMismatch"
    ROSTER_UNKNOWN = "RosterUnknown"
    CONFIRMATION_MISMATCH = "ConfirmationMismatch"
    MODEL_MISMATCH = "ModelMismatch"
    SURVIVOR_SET_BURNT = "SurvivorSetBurnt"
    SURVIVOR_SET_INVALID = "SurvivorSetInvalid"
    BOUND_EXCEEDED = "BoundExceeded"
    NON_FINITE = "NonFinite"
    CHECK_FAILED = "CheckFailed"
    BOARD_REWOUND = "BoardRewound"
    SPOOL_LOST = "SpoolLost"
    GRANT_MISMATCH = "GrantMismatch"
    CLOCK_SKEWED = "ClockSkewed"
    TRAINER_FAILED = "TrainerFailed"
    DATA_INVALID = "DataInvalid"
    INITIAL_WEIGHTS_MISSING = "InitialWeightsMissing"
