"""Reading documents that were defaulted and validated against their CRD: metadata and small helpers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import API_VERSION
from .conditions import seconds


@dataclass(frozen=True, slots=True)
class Metadata:
    """What of ObjectMeta the operator uses. `created` is Unix time."""

    name: str
    uid: str = ""
    namespace: str = ""
    generation: int = 1
    created: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)


def expect_kind(document: Mapping[str, Any], kind: str) -> None:
    """Refuse a document of another kind or version.

    Raises:
        ValueError: naming what was expected and found.
    """
    found = (document.get("apiVersion"), document.get("kind"))
    if found != (API_VERSION, kind):
        raise ValueError(
            f"apiVersion and kind are {found[0]!r}, {found[1]!r}; expected {API_VERSION!r}, {kind!r}"
        )


def parse_metadata(document: Mapping[str, Any]) -> Metadata:
    """Metadata of any resource; server-set fields may be absent (a document not yet created)."""
    meta = document["metadata"]
    created = meta.get("creationTimestamp")
    return Metadata(
        name=meta["name"],
        uid=meta.get("uid", ""),
        namespace=meta.get("namespace", ""),
        generation=int(meta.get("generation", 1)),
        created=seconds(created) if created else 0.0,
        labels=dict(meta.get("labels", {})),
    )
