"""Offline verification of a release: everything that its three files allow to check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedgestalt.lineage.case import Base, Case
from fedgestalt.lineage.enrolment import (
    check_delegations,
    check_handshake,
    check_identities,
    check_roster,
    check_round,
    check_signatures,
)
from fedgestalt.lineage.errors import ManifestError, ProofError, VerificationError
from fedgestalt.lineage.findings import Finding, Findings
from fedgestalt.lineage.manifest import Manifest
from fedgestalt.lineage.parent import check_parent
from fedgestalt.lineage.proof import Proof
from fedgestalt.lineage.releasing import check_computation, check_evaluation, check_release, check_rows
from fedgestalt.lineage.training import check_members, check_training
from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.errors import ComputationError
from fedgestalt.secagg.kinds import Kind


@dataclass(frozen=True)
class Verified:
    """A release whose parts fit each other and carry the signatures they need.

    Attributes:
        manifest: parsed.
        signers: silos that signed it, as the hub's `released` names them.
        identities: identity key (32 bytes) of each silo of the roster, under which its keys were delegated.
        table: the evaluation table as JSON bytes; None if there is none.
        unpinned: what was taken from the files themselves because the caller pinned nothing to compare it with, one
            sentence each. While this is not empty, somebody who made all three files could have made them up.
    """

    manifest: Manifest
    signers: tuple[str, ...]
    identities: Mapping[str, bytes]
    table: bytes | None = field(repr=False)
    unpinned: tuple[str, ...]


def verify(
    manifest: bytes,
    computation: bytes,
    proof: bytes,
    *,
    hub_key: bytes | None,
    identities: Mapping[str, bytes] | None,
    parent: bytes | None = None,
) -> Verified:
    """Check a release offline.

    What cannot be checked from the files: whether delegations had expired when they were used (no clock in them),
    whether the hub left messages out of the proof, and that the models are any good.

    Args:
        manifest, computation: canonical JSON, the exact bytes.
        proof: what :func:`fedgestalt.lineage.proof.collect` made.
        hub_key: the hub's Ed25519 public key (32 bytes) as the caller pins it; None leaves the hub's messages unchecked.
        identities: identity keys (32 bytes) by silo as the caller knows them; None, or a silo without one, takes the
            computation's word.
        parent: the manifest of the release that this one continues: what Adopt and Rotate take over is compared with it.
            It has a proof of its own, to be verified by itself.

    Raises:
        VerificationError: names everything that is wrong.
    """
    case = _open(manifest, computation, proof, parent)
    check_computation(case)
    check_round(case)
    check_identities(case, identities)
    check_signatures(case, hub_key)
    check_delegations(case)
    check_roster(case)
    check_handshake(case)
    check_members(case)
    check_training(case)
    check_rows(case)
    check_evaluation(case)
    check_parent(case)
    signers = check_release(case)
    if case.found.problems:
        raise VerificationError(case.found.problems)
    enrols = case.proof.silos(Kind.ENROL)
    return Verified(
        case.manifest,
        signers,
        {silo: enrols[silo].body["identity"] for silo in case.roster},
        case.table,
        tuple(case.unpinned),
    )


def _open(manifest: bytes, computation: bytes, proof: bytes, parent: bytes | None) -> Case:
    """Parse the parts; what cannot be read is reported for all of them at once."""
    found = Findings()
    parsed: Manifest | None = None
    read: Computation | None = None
    messages: Proof | None = None
    try:
        parsed = Manifest.parse(manifest)
    except ManifestError as error:
        found.add(Finding.MANIFEST_MALFORMED, str(error))
    try:
        read = Computation.parse(computation)
    except ComputationError as error:
        found.add(Finding.COMPUTATION_MALFORMED, str(error))
    try:
        messages = Proof.parse(proof)
    except ProofError as error:
        found.add(Finding.PROOF_MALFORMED, str(error))
    document: dict[str, Any] = {}
    try:
        document = {} if read is None else json.loads(computation)
        Base.of(document)
    except TypeError as error:
        found.add(Finding.COMPUTATION_MALFORMED, f"the computation: {error}")
    earlier: Manifest | None = None
    try:
        earlier = None if parent is None else Manifest.parse(parent)
    except ManifestError as error:
        found.add(Finding.PARENT_MISMATCH, f"the parent: {error}")
    if parsed is None or read is None or messages is None or found.problems:
        raise VerificationError(found.problems)
    return Case(parsed, read, messages, document, earlier)
