"""A release's manifest: canonical JSON whose SHA-256 is the release's name, read strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import rfc8785
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from fedgestalt.lineage.errors import ManifestError
from fedgestalt.lineage.schema import SCHEMA
from fedgestalt.secagg.kinds import EVALUATION

MAX_BYTES: Final = 1 << 20
_VALIDATOR: Final = Draft202012Validator(SCHEMA)


@dataclass(frozen=True, slots=True)
class CommunicationRound:
    """One communication round: the hash (hex) of the model after it and its survivor set, or that it was skipped.

    Attributes:
        t: from 1.
        model: None if skipped.
        survivors: sorted; empty if skipped.
    """

    t: int
    model: str | None
    survivors: tuple[str, ...]

    @property
    def skipped(self) -> bool:
        """Whether the model stayed that of t - 1."""
        return self.model is None


@dataclass(frozen=True, slots=True)
class MemberLineage:
    """One member of the ensemble: its final model's hash (hex; None where the round does not state one)."""

    name: str
    trainable: bool
    model: str | None
    rounds: tuple[CommunicationRound, ...]


@dataclass(frozen=True, slots=True)
class SiloLineage:
    """One silo of the roster: public weight, identity key and commitment to its cohort (hex, where stated)."""

    weight: int
    identity: str | None
    data: str | None


@dataclass(frozen=True, slots=True)
class RowsLineage:
    """What a silo gave to the kernel: numbers of rows by class, and the digest (hex) of the blob, where stated."""

    gallery: int
    test: int
    undiagnosed: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class EvaluationLineage:
    """SHA-256 (hex) of the agreed table, the silos that stated it, and the secure sum behind it."""

    digest: str
    silos: tuple[str, ...]
    aggregation: CommunicationRound


@dataclass(frozen=True, slots=True)
class BundleDigests:
    """SHA-256 (hex) of the sealed bundle, and ``sha256:`` digest of the plain bundle's manifest."""

    sealed: str
    plain: str


@dataclass(frozen=True)
class Manifest:
    """What a release was made of, and by whom. Digests and hashes are hexadecimal SHA-256.

    Attributes:
        digest: the release's name: SHA-256 of the manifest's bytes.
        round, name, operation: uid, name and operation of the federation round.
        computation: digest of the frozen computation.
        parents: releases that this one continues.
        enrolment, h: the enrolment attempt that stood, and its handshake hash.
        epoch: handshake hash of the enrolment in which the epoch's key was drawn.
        roster, members, rows, evaluation: see their types.
        bundle, epoch_check, software: None where the release was made without them.
    """

    digest: str
    round: str
    name: str
    operation: str
    computation: str
    parents: tuple[str, ...]
    enrolment: int
    h: str
    epoch: str
    roster: Mapping[str, SiloLineage]
    members: tuple[MemberLineage, ...]
    rows: Mapping[str, RowsLineage]
    evaluation: EvaluationLineage | None
    bundle: BundleDigests | None
    epoch_check: str | None
    software: Any

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read untrusted bytes.

        Raises:
            ManifestError: larger than 1 MiB, not canonical JSON (RFC 8785), a field missing, unknown or malformed,
                or parts that contradict each other; the message names the field.
        """
        document = _read(data)
        manifest = cls(
            digest=hashlib.sha256(data).hexdigest(),
            round=document["round"],
            name=document["name"],
            operation=document["operation"],
            computation=document["computation"],
            parents=tuple(document["parents"]),
            enrolment=document["enrolment"],
            h=document["h"],
            epoch=document["epoch"],
            roster={
                s: SiloLineage(e["weight"], e.get("identity"), e.get("data"))
                for s, e in document["roster"].items()
            },
            members=tuple(
                MemberLineage(m["name"], m["trainable"], m.get("model"), _rounds(m.get("rounds", ())))
                for m in document["members"]
            ),
            rows={
                s: RowsLineage(e["gallery"], e["test"], e["undiagnosed"], e.get("digest"))
                for s, e in document["rows"].items()
            },
            evaluation=_evaluation(document["evaluation"]),
            bundle=_bundle(document.get("bundle")),
            epoch_check=document.get("epochCheck"),
            software=document.get("software"),
        )
        _check(manifest)
        return manifest


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise ManifestError(f"the manifest has {len(data)} bytes; at most {MAX_BYTES} are allowed")
    try:
        document = json.loads(data)
        canonical = rfc8785.dumps(document) == data
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"the manifest is not canonical JSON: {error}") from error
    if not canonical:
        raise ManifestError("the manifest is not canonical JSON (RFC 8785): it was edited; fetch it again")
    worst = best_match(_VALIDATOR.iter_errors(document))
    if worst is not None:
        raise ManifestError(f"the manifest's field {worst.json_path}: {worst.message[:300]}")
    assert isinstance(document, dict)
    return document


def _round(entry: Mapping[str, Any]) -> CommunicationRound:
    return CommunicationRound(entry["t"], entry.get("model"), tuple(entry.get("survivors", ())))


def _rounds(entries: Sequence[Mapping[str, Any]]) -> tuple[CommunicationRound, ...]:
    return tuple(map(_round, entries))


def _evaluation(entry: Mapping[str, Any] | None) -> EvaluationLineage | None:
    if entry is None:
        return None
    return EvaluationLineage(entry["digest"], tuple(entry["silos"]), _round(entry["aggregation"]))


def _bundle(entry: Mapping[str, str] | None) -> BundleDigests | None:
    return None if entry is None else BundleDigests(entry["digest"], entry["plain"])


def _check(manifest: Manifest) -> None:
    """Refuse parts that contradict each other; whether they are true is the proof's question."""
    named = [member.name for member in manifest.members]
    if len(set(named)) != len(named):
        raise ManifestError("the manifest's members: two have the same name")
    if EVALUATION in named:  # its secure sum would stand in for the member's
        raise ManifestError(f"the manifest's members: {EVALUATION!r} is the name of the evaluation's sum")
    for member in manifest.members:
        if [r.t for r in member.rounds] != list(range(1, len(member.rounds) + 1)):
            raise ManifestError(
                f"the manifest's member {member.name}: its rounds are not t = 1, 2, ... in order"
            )
        done = [r.model for r in member.rounds if not r.skipped]
        if done and member.model != done[-1]:
            raise ManifestError(
                f"the manifest's member {member.name}: its model is not that of its last round"
            )
    # Members of a round that trained nothing are the parent's, and so are their survivor sets: of its roster.
    own = manifest.members if manifest.operation == "Train" else ()
    sets = {f"member {m.name}, t = {r.t}": r.survivors for m in own for r in m.rounds}
    sets["rows"] = tuple(manifest.rows)
    if manifest.evaluation is not None:
        sets["evaluation"] = manifest.evaluation.silos
        sets["evaluation's sum"] = manifest.evaluation.aggregation.survivors
    for where, silos in sets.items():
        if list(silos) != sorted(silos):
            raise ManifestError(f"the manifest's {where}: silos are not sorted by name")
        if strangers := set(silos) - manifest.roster.keys():
            raise ManifestError(f"the manifest's {where}: {', '.join(sorted(strangers))} not in the roster")
