"""Closed enums of reasons: every terminal state, void, retry and condition names exactly one of these."""

from enum import StrEnum


class RoundReason(StrEnum):
    """Reasons of a FederationRound's `Succeeded` condition, and of the hub's `failed` message."""

    # Succeeded=Unknown: the round goes on.
    PENDING = "Pending"
    ENROLLING = "Enrolling"
    TRAINING = "Training"
    ENCODING = "Encoding"
    MATCHING = "Matching"
    RELEASING = "Releasing"
    # Succeeded=True
    RELEASED = "Released"
    REHEARSED = "Rehearsed"
    # Succeeded=False
    SILOS_NOT_ACCEPTED = "SilosNotAccepted"
    QUORUM_NOT_REACHED = "QuorumNotReached"
    ENROLMENT_FAILED = "EnrolmentFailed"
    QUORUM_LOST = "QuorumLost"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    TRIES_EXHAUSTED = "TriesExhausted"
    MODEL_DIVERGED = "ModelDiverged"
    KERNEL_FAILED = "KernelFailed"
    KERNEL_NOT_STARTED = "KernelNotStarted"
    EVALUATION_DIVERGED = "EvaluationDiverged"
    VOCABULARY_UNKNOWN = "VocabularyUnknown"
    BASE_UNKNOWN = "BaseUnknown"
    BASE_MISMATCH = "BaseMismatch"
    PEER_REFUSED = "PeerRefused"
    BUNDLE_DIVERGED = "BundleDiverged"
    DELETED = "Deleted"


class VoidReason(StrEnum):
    """Why the hub voids an enrolment attempt; a silo's fault reason may stand here as well."""

    SILO_LOST = "SiloLost"
    STRAGGLER_TIMEOUT = "StragglerTimeout"


class RetryReason(StrEnum):
    """Why the hub starts another try of an aggregation."""

    SILO_FAULT = "SiloFault"
    TOO_FEW_SHARES = "TooFewShares"
    TOO_FEW_UPLOADS = "TooFewUploads"
    TOO_FEW_REVEALS = "TooFewReveals"
    BOUND_EXCEEDED = "BoundExceeded"
    CHECK_FAILED = "CheckFailed"
    JOB_FAILED = "JobFailed"
    JOB_NOT_STARTED = "JobNotStarted"


class SkipReason(StrEnum):
    """Why a communication round keeps the model of the one before."""

    SURVIVOR_SET_BURNT = "SurvivorSetBurnt"


class FaultReason(StrEnum):
    """Faults that silos post (docs/reference/protocol.md)."""

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


class RowsReason(StrEnum):
    """What the hub says of a silo's rows; it stands where a fault that the silo posts would."""

    ROWS_REFUSED = "RowsRefused"


class SuspendedReason(StrEnum):
    """Reasons of a FederationRound's `Suspended` condition."""

    REQUESTED = "Requested"
    RESUMED = "Resumed"
    NOT_REQUESTED = "NotRequested"


class SiloReason(StrEnum):
    """Reasons of a Silo's conditions. `Ready` takes the reason of the first condition that is not true."""

    READY = "Ready"
    # Accepted
    ACCEPTED = "Accepted"
    NOT_ACCEPTED = "NotAccepted"
    REVOCATION_PENDING = "RevocationPending"
    IDENTITY_EXPIRED = "IdentityExpired"
    # Connected
    HEARD = "Heard"
    NEVER_CONNECTED = "NeverConnected"
    NOT_HEARD_YET = "NotHeardYet"
    LINK_LOST = "LinkLost"
    EXCHANGE_UNREACHABLE = "ExchangeUnreachable"
    # Compatible
    VERSION_FITS = "VersionFits"
    VERSION_UNKNOWN = "VersionUnknown"
    VERSION_DIFFERS = "VersionDiffers"


class PublishedReason(StrEnum):
    """Reasons of a Release's `Published` condition."""

    SERVED = "Served"
    EPOCH_ENDED = "EpochEnded"
    BLOB_MISSING = "BlobMissing"
    EXCHANGE_UNREACHABLE = "ExchangeUnreachable"


class RotationReason(StrEnum):
    """Reasons of a Release's `RotationDue` condition, and causes in its status."""

    NOT_DUE = "NotDue"
    WITHDRAWAL = "Withdrawal"
    DEPARTURE = "Departure"
    BUDGET_SPENT = "BudgetSpent"
    EXCHANGE_UNREACHABLE = "ExchangeUnreachable"


class UsableReason(StrEnum):
    """Reasons of a ParticipationGrant's `Usable` condition."""

    GRANTED = "Granted"
    REVOKED = "GrantRevoked"
    EXPIRED = "GrantExpired"
    USES_SPENT = "UsesSpent"
    LEDGER_UNREADABLE = "LedgerUnreadable"


class GrantReason(StrEnum):
    """Why a round does not fit a site's grants: what a site says to the coordinator, and no more than that."""

    NO_GRANT = "NoGrant"
    REVOKED = "GrantRevoked"
    EXPIRED = "GrantExpired"
    USES_SPENT = "UsesSpent"
    HUB = "HubNotGranted"
    OPERATION = "OperationNotGranted"
    PURPOSE = "PurposeNotGranted"
    DATASET = "DatasetNotGranted"
    QUORUM = "QuorumTooSmall"
    BOUND = "BoundExceeded"
    PEER = "PeerNotGranted"
    IMAGE = "ImageNotGranted"
    SIGNER_UNCHECKED = "ImageSignerUnchecked"


class LinkReason(StrEnum):
    """How a site stands with its hub's exchange."""

    CONNECTED = "Connected"
    LINK_LOST = "LinkLost"
    REVOKED = "Revoked"
    CLOCK_SKEWED = "ClockSkewed"
    REFUSED = "Refused"


class VerifiedReason(StrEnum):
    """Reasons of an InferenceEndpoint's `Verified` condition."""

    SIGNATURES_VALID = "SignaturesValid"
    RELEASE_MISSING = "ReleaseMissing"
    PROOF_INVALID = "ProofInvalid"
    DIGEST_MISMATCH = "DigestMismatch"
    BUNDLE_MISMATCH = "BundleMismatch"


class LoadedReason(StrEnum):
    """Reasons of an InferenceEndpoint's `Loaded` condition."""

    MODEL_LOADED = "ModelLoaded"
    LOADING = "Loading"
    LOAD_FAILED = "LoadFailed"
    NOT_VERIFIED = "NotVerified"


class ReadyReason(StrEnum):
    """Reasons of an InferenceEndpoint's `Ready` condition."""

    SERVING = "Serving"
    NOT_VERIFIED = "NotVerified"
    NOT_LOADED = "NotLoaded"
    POD_NOT_READY = "PodNotReady"
    WRONG_RELEASE = "WrongRelease"


class CandidateReason(StrEnum):
    """Why an InferenceEndpoint does not serve the newest release."""

    AWAITING_PERSON = "AwaitingPerson"
    MEASURING = "Measuring"
    TOP5_TOO_LOW = "Top5TooLow"
    DROP_TOO_LARGE = "DropTooLarge"
    TOO_FEW_PHOTOS = "TooFewPhotos"
    NOT_VERIFIED = "NotVerified"
