"""Release: what a round yields, as the hub's operator writes it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import API_VERSION
from .meta import Metadata, expect_kind, parse_metadata
from .round import Operation

KIND = "Release"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Macro averages of one setting of the evaluation, as text; empty where none was stated."""

    setting: str
    top1: str = ""
    top5: str = ""
    top10: str = ""
    top30: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`digest` (`sha256:` and 64 hexadecimal digits) of the table that the silos agree on, and what it says."""

    digest: str
    settings: tuple[Accuracy, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """A Release. Digests are `sha256:` and 64 hexadecimal digits, `epoch` is 64 hexadecimal digits.

    The signed manifest decides (docs/reference/release.md); this resource only says what it says. `bundle` is the
    digest of the encrypted extractor, `bundle_plain` of the plain one's manifest. `evaluation` is None where the
    secure sum was skipped.
    """

    metadata: Metadata
    digest: str
    round: str
    round_uid: str
    operation: Operation
    epoch: str
    parents: tuple[str, ...]
    silos: tuple[str, ...]
    signers: tuple[str, ...]
    bundle: str
    bundle_plain: str
    evaluation: Evaluation | None
    dataset: str
    synthetic: bool


def parse_release(document: Mapping[str, Any]) -> Release:
    """Read a defaulted, validated Release.

    Raises:
        ValueError: the document is of another kind.
        KeyError: a required field is absent: the document was not validated.
    """
    expect_kind(document, KIND)
    spec = document["spec"]
    evaluation = spec.get("evaluation")
    return Release(
        metadata=parse_metadata(document),
        digest=spec["digest"],
        round=spec["round"],
        round_uid=spec["roundUID"],
        operation=Operation(spec["operation"]),
        epoch=spec["epoch"],
        parents=tuple(spec.get("parents", ())),
        silos=tuple(sorted(spec["silos"])),
        signers=tuple(sorted(spec["signers"])),
        bundle=spec["bundle"]["digest"],
        bundle_plain=spec["bundle"]["plain"],
        evaluation=None if evaluation is None else _parse_evaluation(evaluation),
        dataset=spec["dataset"],
        synthetic=bool(spec["synthetic"]),
    )


def release_document(release: Release) -> dict[str, Any]:
    """The resource document of a release that is to be created."""
    meta: dict[str, Any] = {"name": release.metadata.name, "labels": dict(release.metadata.labels)}
    if release.metadata.namespace:
        meta["namespace"] = release.metadata.namespace
    spec: dict[str, Any] = {
        "digest": release.digest,
        "round": release.round,
        "roundUID": release.round_uid,
        "operation": release.operation.value,
        "epoch": release.epoch,
        "parents": list(release.parents),
        "silos": list(release.silos),
        "signers": list(release.signers),
        "bundle": {"digest": release.bundle, "plain": release.bundle_plain},
        "dataset": release.dataset,
        "synthetic": release.synthetic,
    }
    if release.evaluation is not None:
        spec["evaluation"] = _evaluation_document(release.evaluation)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": spec}


def release_name(round_name: str, digest: str) -> str:
    """The name of a round's Release: the round's, then 12 digits of the digest.

    Deterministic, so that a restarted hub finds what it has created; apart from that of a later round which was given
    the same name once this one was deleted.
    """
    return f"{round_name[:50].rstrip('-.')}-{digest.removeprefix('sha256:')[:12]}"


def release_of(
    manifest: Mapping[str, Any],
    *,
    digest: str,
    signers: Iterable[str],
    dataset: str,
    synthetic: bool,
    evaluation: tuple[Accuracy, ...] = (),
    namespace: str = "",
) -> Release:
    """The Release that says what a manifest (docs/reference/release.md) says.

    Args:
        manifest: its JSON document.
        digest: the manifest's SHA-256, with or without the prefix `sha256:`; so for all digests in it.
        signers: silos whose signatures the hub counted.
        dataset: the contract name in the round's computation.
        synthetic: whether that data is synthetic.
        evaluation: what the manifest's table says; left out where the manifest names none.

    Raises:
        ValueError: the manifest names no bundle, or the evaluation is missing or has no table.
    """
    table, bundle = manifest.get("evaluation"), manifest.get("bundle")
    if bundle is None:
        raise ValueError("the manifest names no bundle, as only early releases do; train or rotate anew")
    if (table is not None) != bool(evaluation):
        raise ValueError("give the evaluation's accuracies exactly if the manifest names a table")
    return Release(
        metadata=Metadata(name=release_name(manifest["name"], digest), namespace=namespace),
        digest=_prefixed(digest),
        round=manifest["name"],
        round_uid=manifest["round"],
        operation=Operation(manifest["operation"]),
        epoch=manifest["epoch"],
        parents=tuple(map(_prefixed, manifest["parents"])),
        silos=tuple(sorted(manifest["roster"])),
        signers=tuple(sorted(signers)),
        bundle=_prefixed(bundle["digest"]),
        bundle_plain=_prefixed(bundle["plain"]),
        evaluation=None if table is None else Evaluation(_prefixed(table["digest"]), evaluation),
        dataset=dataset,
        synthetic=synthetic,
    )


def _prefixed(digest: str) -> str:
    return f"sha256:{digest.removeprefix('sha256:')}"


_TOPS = ("top1", "top5", "top10", "top30")


def _parse_evaluation(content: Mapping[str, Any]) -> Evaluation:
    settings = tuple(
        Accuracy(s["name"], **{top: s[top] for top in _TOPS if top in s}) for s in content["settings"]
    )
    return Evaluation(content["digest"], settings)


def _evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    settings = [
        {"name": s.setting} | {top: getattr(s, top) for top in _TOPS if getattr(s, top)}
        for s in evaluation.settings
    ]
    return {"digest": evaluation.digest, "settings": settings}
