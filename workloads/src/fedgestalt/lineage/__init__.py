"""What a release was made of and by whom: its manifest, the proof under it, their verification, their store.

A release outlives its round, so everything here works offline, from three files: no board, no exchange, no network.
"""

from fedgestalt.lineage.chain import Parts, ancestors, verify_chain
from fedgestalt.lineage.errors import (
    ChainError,
    LineageError,
    ManifestError,
    ProofError,
    StoreError,
    VerificationError,
)
from fedgestalt.lineage.findings import Finding, Problem
from fedgestalt.lineage.manifest import Manifest
from fedgestalt.lineage.proof import Proof, collect
from fedgestalt.lineage.store import ReleaseStore, StoredRelease
from fedgestalt.lineage.succession import rotated_by, successor_of
from fedgestalt.lineage.verify import Verified, verify

__all__ = [
    "ChainError",
    "Finding",
    "LineageError",
    "Manifest",
    "ManifestError",
    "Parts",
    "Problem",
    "Proof",
    "ProofError",
    "ReleaseStore",
    "StoreError",
    "StoredRelease",
    "VerificationError",
    "Verified",
    "ancestors",
    "collect",
    "rotated_by",
    "successor_of",
    "verify",
    "verify_chain",
]
