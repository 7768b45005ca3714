"""Checks of training: members, models and survivor sets of every communication round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedgestalt.lineage.case import Case
from fedgestalt.lineage.findings import Finding, listed
from fedgestalt.lineage.manifest import CommunicationRound
from fedgestalt.secagg.kinds import EVALUATION, Kind


def check_members(case: Case) -> None:
    """A Train round's members and numbers of communication rounds are those of the computation."""
    manifest = case.manifest
    if not case.trained:
        return  # the models are the parent's: see `check_parent`
    try:
        training: Mapping[str, Any] = case.document["spec"]["training"]
        planned = [(str(m["name"]), bool(m.get("trainable", True))) for m in training["members"]]
        rounds = int(training["communicationRounds"])
    except (KeyError, TypeError, ValueError, AttributeError):
        case.found.add(
            Finding.COMPUTATION_MALFORMED,
            "a computation of operation Train must state spec.training.members and spec.training.communicationRounds",
        )
        return
    stated = [(m.name, m.trainable) for m in manifest.members]
    case.found.require(
        stated == planned,
        Finding.MEMBERS_MISMATCH,
        f"the manifest's members are {stated}, the computation's {planned}",
    )
    for member in manifest.members:
        if member.trainable:
            case.found.require(
                len(member.rounds) == rounds,
                Finding.MEMBERS_MISMATCH,
                f"{member.name} has {len(member.rounds)} communication rounds, the computation {rounds}",
            )


def check_training(case: Case) -> None:
    """Every communication round that the manifest lists happened as it says, and no other did."""
    own = case.manifest.members if case.trained else ()
    listed_rounds = {(m.name, r.t): r for m in own for r in m.rounds}
    if case.manifest.evaluation is not None:
        aggregation = case.manifest.evaluation.aggregation
        listed_rounds[EVALUATION, aggregation.t] = aggregation
    for (member, _), entry in listed_rounds.items():
        check_communication_round(case, member, entry)
    ended = {
        (m.slot.member, m.slot.t) for m in case.proof.messages if m.slot.kind in (Kind.ADVANCE, Kind.SKIP)
    }
    for member, t in sorted(ended - listed_rounds.keys()):
        if member != EVALUATION:  # an evaluation without a single table is null in the manifest
            case.found.add(
                Finding.MEMBERS_MISMATCH,
                f"the proof ends {member}, t = {t}, which the manifest does not list",
            )


def check_communication_round(case: Case, member: str, entry: CommunicationRound) -> None:
    """Hub and quorum agree with the manifest on the model and the survivor set after (member, t)."""
    where = f"{member}, t = {entry.t}"
    ends = case.proof.ends(member, entry.t)
    if len(ends) != 1:
        if ends:
            case.found.add(Finding.MODEL_MISMATCH, f"{where}: the proof holds {len(ends)} ends of it")
        else:
            case.missing(f"the end (`advance` or `skip`) of {where}")
        return
    slot, body = ends[0].slot, ends[0].body
    if (slot.kind is Kind.SKIP) != entry.skipped:
        case.found.add(
            Finding.MODEL_MISMATCH, f"{where}: the board says `{slot.kind}`, the manifest says otherwise"
        )
        return
    if entry.model is None:
        return
    at = (member, entry.t, slot.attempt)
    model, survivors = bytes.fromhex(entry.model), list(entry.survivors)
    case.found.require(
        body["hash"] == model, Finding.MODEL_MISMATCH, f"{where}: `advance` names another model"
    )
    equal = {s for s, m in case.proof.silos(Kind.MODEL, at).items() if m.body["hash"] == model}
    _quorum(case, equal & set(case.roster), case.tau, f"{where}: silos that hold the manifest's model")
    decided = case.hub(Kind.SURVIVORS, at)
    if decided is not None:
        case.found.require(
            decided.body["silos"] == survivors,
            Finding.SURVIVORS_MISMATCH,
            f"{where}: `survivors` names {listed(decided.body['silos'])}, the manifest {listed(survivors)}",
        )
    _quorum(case, set(survivors), case.need, f"{where}: survivors")
    accepted = case.proof.silos(Kind.ACCEPT, at)
    contexts: dict[bytes, set[str]] = {}
    for silo, message in accepted.items():
        if message.body["silos"] == survivors and silo in survivors:
            contexts.setdefault(message.body["ctx"], set()).add(silo)
    _quorum(
        case,
        max(contexts.values(), key=len, default=set()),
        case.tau,
        f"{where}: silos that accepted the manifest's survivor set",
    )


def _quorum(case: Case, silos: set[str], needed: int, what: str) -> None:
    case.found.require(
        len(silos) >= needed, Finding.QUORUM_MISSED, f"{what}: {listed(silos)}, of which {needed} are needed"
    )
