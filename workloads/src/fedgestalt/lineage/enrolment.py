"""Checks of enrolment: who took part, under which keys, bound to which computation."""

from __future__ import annotations

from collections.abc import Mapping

from fedgestalt.crypto.delegation import Delegation
from fedgestalt.crypto.errors import SignatureError
from fedgestalt.lineage.case import Case
from fedgestalt.lineage.findings import Finding, listed
from fedgestalt.secagg.context import Peer, handshake_hash
from fedgestalt.secagg.kinds import HUB, Kind
from fedgestalt.secagg.messages import Message, verify


def check_round(case: Case) -> None:
    """Every message is of the manifest's round and enrolment attempt, and a silo's sender is in the roster."""
    manifest = case.manifest
    for message in case.proof.messages:
        slot = message.slot
        enrolment = 0 if slot.kind is Kind.COMPUTATION else manifest.enrolment
        case.found.require(
            (slot.round, slot.enrolment) == (manifest.round, enrolment),
            Finding.ROUND_MISMATCH,
            f"the message {slot} is of round {slot.round}, not of enrolment {enrolment} of {manifest.round}",
        )
        case.found.require(
            slot.sender == HUB or slot.sender in manifest.roster,
            Finding.ROSTER_MISMATCH,
            f"the message {slot} comes from a silo that is not in the manifest's roster",
        )


def check_signatures(case: Case, hub_key: bytes | None) -> None:
    """Every envelope is signed: a silo's `enrol` by its identity, its others by its delegated key, the hub's by its key."""
    enrols = case.proof.silos(Kind.ENROL)
    kids = {m.kid for m in case.proof.messages if m.slot.sender == HUB}
    if hub_key is None:
        case.unpinned.append("the hub's key was not given, so no message of the hub was checked")
        case.found.require(
            len(kids) <= 1, Finding.SIGNATURE_INVALID, f"the hub's messages name {len(kids)} different keys"
        )
    for message in case.proof.messages:
        key = _key(message, hub_key, enrols)
        if key is None:
            continue  # the hub without a pinned key, or a silo whose `enrol` is missing and named as such
        try:
            verify(message, key)
        except SignatureError as error:
            case.found.add(Finding.SIGNATURE_INVALID, str(error))


def _key(message: Message, hub_key: bytes | None, enrols: Mapping[str, Message]) -> bytes | None:
    sender = message.slot.sender
    if sender == HUB:
        return hub_key
    if sender not in enrols:
        return None
    key: bytes = enrols[sender].body["identity" if message.slot.kind is Kind.ENROL else "signing"]
    return key


def check_identities(case: Case, identities: Mapping[str, bytes] | None) -> None:
    """Identities are those of the computation, of the manifest where it states them, and those that the caller pins."""
    enrols = case.proof.silos(Kind.ENROL)
    unknown = []
    for silo in case.roster:
        if silo not in enrols:
            case.missing(f"`enrol` of {silo}")
            continue
        identity: bytes = enrols[silo].body["identity"]
        stated = case.manifest.roster[silo].identity
        pinned = None if identities is None else identities.get(silo)
        expected = {"the computation": case.computation.silos.get(silo)}
        if stated is not None:
            expected["the manifest"] = bytes.fromhex(stated)
        if pinned is not None:
            expected["the pinned key"] = pinned
        else:
            unknown.append(silo)
        for where, key in expected.items():
            case.found.require(
                key == identity,
                Finding.IDENTITY_MISMATCH,
                f"{silo} enrolled with another identity than {where} has for it",
            )
    if unknown:
        case.unpinned.append(
            f"identities were taken from the computation, not from a list of yours: {listed(unknown)}"
        )


def check_delegations(case: Case) -> None:
    """Each identity vouches for the keys of its silo. (Whether in time, only those present could see.)"""
    for silo, message in case.proof.silos(Kind.ENROL).items():
        body = message.body
        delegation = Delegation(
            case.manifest.round,
            case.manifest.enrolment,
            silo,
            body["signing"],
            body["sealing"],
            body["not_after"],
        )
        try:
            delegation.verify(body["identity"], body["delegation"], now=0.0)
        except SignatureError:
            case.found.add(
                Finding.DELEGATION_INVALID,
                f"the identity of {silo} did not delegate these keys in enrolment {case.manifest.enrolment}",
            )


def check_roster(case: Case) -> None:
    """One roster, of the needed size, with the public weights of the `enrol` messages."""
    roster = list(case.roster)
    for kind in (Kind.ROSTER, Kind.ENROLLED):
        message = case.hub(kind)
        if message is not None:
            case.found.require(
                message.body["silos"] == roster,
                Finding.ROSTER_MISMATCH,
                f"`{kind}` names {listed(message.body['silos'])}, the manifest {listed(roster)}",
            )
    case.found.require(
        len(roster) >= case.computation.need,
        Finding.QUORUM_MISSED,
        f"the roster has {len(roster)} silos where {case.computation.need} are needed",
    )
    enrols = case.proof.silos(Kind.ENROL)
    for silo in case.roster:
        if silo in enrols:
            case.found.require(
                enrols[silo].body["weight"] == case.manifest.roster[silo].weight,
                Finding.ROSTER_MISMATCH,
                f"{silo} enrolled with another weight than the manifest states",
            )


def check_handshake(case: Case) -> None:
    """h, recomputed from the `enrol` messages, is what every silo endorsed, the hub declared and the manifest states."""
    enrols, endorsed = case.proof.silos(Kind.ENROL), case.proof.silos(Kind.ENDORSE)
    absent = [silo for silo in case.roster if silo not in endorsed]
    for silo in absent:
        case.missing(f"`endorse` of {silo}")
    if any(silo not in enrols for silo in case.roster):
        return  # named before; h cannot be recomputed
    peers = {silo: Peer.of(enrols[silo].body) for silo in case.roster}
    h = handshake_hash(case.computation, case.manifest.enrolment, peers)
    enrolled = case.proof.hub(Kind.ENROLLED)
    said = {f"`endorse` of {s}": endorsed[s].body["h"] for s in case.roster if s in endorsed}
    if enrolled is not None:
        said["`enrolled`"] = enrolled.body["h"]
    said["the manifest"] = bytes.fromhex(case.manifest.h)
    for where, value in said.items():
        case.found.require(
            value == h,
            Finding.HANDSHAKE_MISMATCH,
            f"{where} states another handshake hash than the roster, its keys and the computation give",
        )
    check_epoch(case)


def check_epoch(case: Case) -> None:
    """A new epoch is named by this handshake; an adopted one by the base, and all its silos admitted the newcomers."""
    case.found.require(
        case.computation.new_epoch != case.adopting,
        Finding.EPOCH_MISMATCH,
        f"operation {case.manifest.operation} does not go with newEpoch = {case.computation.new_epoch}",
    )
    if not case.adopting:
        case.found.require(
            case.manifest.epoch == case.manifest.h,
            Finding.EPOCH_MISMATCH,
            "the round began a new epoch, so the epoch must be named by its handshake hash",
        )
        return
    case.found.require(
        case.base is not None and case.manifest.epoch == case.base.epoch,
        Finding.EPOCH_MISMATCH,
        "the manifest's epoch is not the one of the computation's base",
    )
    members = () if case.base is None else case.base.silos
    newcomers = {s: case.computation.silos.get(s) for s in case.roster if s not in members}
    admitted = case.proof.silos(Kind.ADMIT)
    for silo in members:
        if silo not in admitted:
            case.missing(f"`admit` of {silo}")
            continue
        body = admitted[silo].body
        case.found.require(
            body["epoch"].hex() == case.manifest.epoch
            and all(body["newcomers"].get(s) == key for s, key in newcomers.items()),
            Finding.ADMISSION_MISMATCH,
            f"{silo} admitted others than {listed(newcomers)}, or to another epoch",
        )
