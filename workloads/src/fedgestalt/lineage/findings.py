"""The closed list of what verification can find wrong, and the list that a verification fills."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Finding(StrEnum):
    """The names of problems (docs/reference/release.md has a row for each)."""

    MANIFEST_MALFORMED = "ManifestMalformed"
    PROOF_MALFORMED = "ProofMalformed"
    COMPUTATION_MALFORMED = "ComputationMalformed"
    COMPUTATION_MISMATCH = "ComputationMismatch"
    ROUND_MISMATCH = "RoundMismatch"
    PARENT_MISMATCH = "ParentMismatch"
    MESSAGE_MISSING = "MessageMissing"
    SIGNATURE_INVALID = "SignatureInvalid"
    IDENTITY_MISMATCH = "IdentityMismatch"
    DELEGATION_INVALID = "DelegationInvalid"
    ROSTER_MISMATCH = "RosterMismatch"
    HANDSHAKE_MISMATCH = "HandshakeMismatch"
    ADMISSION_MISMATCH = "AdmissionMismatch"
    EPOCH_MISMATCH = "EpochMismatch"
    MEMBERS_MISMATCH = "MembersMismatch"
    MODEL_MISMATCH = "ModelMismatch"
    SURVIVORS_MISMATCH = "SurvivorsMismatch"
    ROWS_MISMATCH = "RowsMismatch"
    EVALUATION_MISMATCH = "EvaluationMismatch"
    DIGEST_MISMATCH = "DigestMismatch"
    SIGNERS_MISMATCH = "SignersMismatch"
    QUORUM_MISSED = "QuorumMissed"
    BUNDLE_MISMATCH = "BundleMismatch"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        finding: its name.
        detail: what, where, and what was expected.
    """

    finding: Finding
    detail: str

    def __str__(self) -> str:
        return f"{self.finding}: {self.detail}"


@dataclass
class Findings:
    """Problems as they are found. Checks go on after one, so that a report names all of them."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, finding: Finding, detail: str) -> None:
        """Record a problem."""
        self.problems.append(Problem(finding, detail))

    def require(self, holds: bool, finding: Finding, detail: str) -> bool:
        """Record a problem unless ``holds``; returns ``holds``."""
        if not holds:
            self.add(finding, detail)
        return holds


def listed(names: Iterable[str]) -> str:
    """Names for a message: sorted, or ``none``."""
    return ", ".join(sorted(names)) or "none"
