"""Checks of what follows training: rows, evaluation, the manifest's digest and the signatures under it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from fedgestalt.crypto.errors import SignatureError
from fedgestalt.crypto.keys import verify_signature
from fedgestalt.lineage.case import Case
from fedgestalt.lineage.findings import Finding, listed
from fedgestalt.secagg.kinds import Kind
from fedgestalt.secagg.messages import RELEASE_PREFIX, Message


def check_computation(case: Case) -> None:
    """The computation is the one of message 0 and of the manifest, and says what the manifest repeats of it."""
    manifest, digest = case.manifest, case.computation.digest
    message = case.hub(Kind.COMPUTATION)
    stated = {"the manifest": bytes.fromhex(manifest.computation)}
    if message is not None:
        stated["`computation`"] = message.body["digest"]
    for where, value in stated.items():
        case.found.require(
            value == digest, Finding.COMPUTATION_MISMATCH, f"{where} names another computation than the file"
        )
    spec: Mapping[str, Any] = case.document["spec"]
    repeated = {
        "round": (manifest.round, case.computation.round),
        "name": (manifest.name, case.document.get("name")),
        "operation": (manifest.operation, spec.get("operation")),
    }
    for field, (ours, theirs) in repeated.items():
        case.found.require(
            ours == theirs,
            Finding.COMPUTATION_MISMATCH,
            f"{field} is {ours!r} in the manifest and {theirs!r} in the computation",
        )
    case.found.require(
        manifest.software == spec.get("software"),
        Finding.COMPUTATION_MISMATCH,
        "the manifest states another software than the computation",
    )


def check_rows(case: Case) -> None:
    """The rows of each silo are those it announced, and the silos those with which the hub closed them."""
    manifest = case.manifest
    if case.hub(Kind.ROWS_CLOSED) is None:
        return
    others = manifest.rows.keys() - set(case.senders)
    case.found.require(
        not others or case.adopting,
        Finding.ROWS_MISMATCH,
        f"the manifest has rows of {listed(others)}, with which the hub did not close them",
    )
    needed = 1 if case.adopting else case.need
    case.found.require(
        len(case.senders) >= needed,
        Finding.QUORUM_MISSED,
        f"{len(case.senders)} silos gave rows where {needed} are needed",
    )
    messages = case.proof.silos(Kind.ROWS)
    for silo in case.senders:
        if silo not in manifest.rows:
            case.found.add(Finding.ROWS_MISMATCH, f"{silo} gave rows, the manifest has none of it")
        elif silo not in messages:
            case.missing(f"`rows` of {silo}")
        else:
            _check_rows_of(case, silo, messages[silo])


def _check_rows_of(case: Case, silo: str, message: Message) -> None:
    """Each thing that the manifest repeats of a silo's `rows` message."""
    manifest, body = case.manifest, message.body
    rows, bundle = manifest.rows[silo], manifest.bundle
    counts = (rows.gallery, rows.test, rows.undiagnosed)
    said: dict[str, tuple[object, object]] = {
        "numbers of rows": (counts, tuple(body[name] for name in ("gallery", "test", "undiagnosed"))),
        "digest of rows": (rows.digest, body["digest"].hex()),
        "commitment to its cohort": (manifest.roster[silo].data, body["data"].hex()),
        "epoch key": (manifest.epoch_check, body["epoch_check"].hex()),
        "sealed bundle": (bundle and bundle.sealed, body["sealed"].hex()),
        "plain bundle": (bundle and bundle.plain, f"sha256:{body['bundle'].hex()}"),
    }
    for what, (stated, announced) in said.items():
        case.found.require(
            stated is None or stated == announced,
            Finding.ROWS_MISMATCH,
            f"{silo} announced another {what} than the manifest states",
        )
    case.found.require(
        body["digest"].hex() in message.blobs,
        Finding.ROWS_MISMATCH,
        f"the rows that {silo} announced are not a blob of its message",
    )


def check_evaluation(case: Case) -> None:
    """The table of the manifest is the one that its silos state, and the one whose hash ended the secure sum."""
    evaluation, scores = case.manifest.evaluation, case.proof.silos(Kind.SCORE)
    if evaluation is None:
        case.found.require(
            not scores, Finding.EVALUATION_MISMATCH, "silos stated a table, the manifest names none"
        )
        return
    for silo in evaluation.silos:
        if silo not in scores:
            case.missing(f"`score` of {silo}")
            continue
        table: bytes = scores[silo].body["table"]
        if case.found.require(
            hashlib.sha256(table).hexdigest() == evaluation.digest,
            Finding.EVALUATION_MISMATCH,
            f"{silo} stated another evaluation table than the manifest names",
        ):
            case.table = table
    if not evaluation.aggregation.skipped:
        case.found.require(
            evaluation.aggregation.model == evaluation.digest,
            Finding.EVALUATION_MISMATCH,
            "the evaluation's secure sum ended with another table than the manifest names",
        )
        case.found.require(
            len(evaluation.silos) >= case.tau,
            Finding.QUORUM_MISSED,
            f"{len(evaluation.silos)} silos stated the evaluation table where {case.tau} are needed",
        )


def check_release(case: Case) -> tuple[str, ...]:
    """Hub and silos name the manifest's digest; enough silos signed it. Returns the signers that `released` names."""
    digest = bytes.fromhex(case.manifest.digest)
    announced, released = case.hub(Kind.MANIFEST), case.hub(Kind.RELEASED)
    for message in (announced, released):
        if message is not None:
            case.found.require(
                message.body["digest"] == digest,
                Finding.DIGEST_MISMATCH,
                f"`{message.slot.kind}` names another manifest than the file",
            )
    if announced is not None:
        case.found.require(
            announced.blobs == (case.manifest.digest,),
            Finding.DIGEST_MISMATCH,
            "`manifest` announced another blob than the file",
        )
    signed = {silo for silo in case.proof.silos(Kind.SIGN) if _signature_holds(case, silo, digest)}
    signers: tuple[str, ...] = tuple(released.body["signers"]) if released is not None else ()
    if released is not None:
        case.found.require(
            set(signers) <= signed,
            Finding.SIGNERS_MISMATCH,
            f"`released` names signers without a signature that holds: {listed(set(signers) - signed)}",
        )
    counted = signed & set(case.roster)
    case.found.require(
        len(counted) >= case.need,
        Finding.QUORUM_MISSED,
        f"signatures under the manifest: {listed(counted)}, of which {case.need} are needed",
    )
    return signers


def _signature_holds(case: Case, silo: str, digest: bytes) -> bool:
    body, enrol = case.proof.silos(Kind.SIGN)[silo].body, case.proof.silos(Kind.ENROL).get(silo)
    if not case.found.require(
        body["digest"] == digest, Finding.DIGEST_MISMATCH, f"`sign` of {silo} names another manifest"
    ):
        return False
    if enrol is None:
        return False  # named before
    try:
        verify_signature(enrol.body["signing"], body["signature"], RELEASE_PREFIX + digest)
    except SignatureError:
        case.found.add(
            Finding.SIGNATURE_INVALID, f"the signature of {silo} under the manifest's digest does not hold"
        )
        return False
    return True
