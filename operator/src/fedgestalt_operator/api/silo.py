"""Silo: one hospital as the hub's platform team registered it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .conditions import seconds
from .meta import Metadata, expect_kind, parse_metadata

KIND = "Silo"


@dataclass(frozen=True, slots=True)
class SiloIdentity:
    """An Ed25519 public key (64 hexadecimal digits) that is valid until `not_after` (Unix time)."""

    key: str
    not_after: float


@dataclass(frozen=True, slots=True)
class Silo:
    """A Silo."""

    metadata: Metadata
    accepted: bool
    identities: tuple[SiloIdentity, ...]

    def identity(self, now: float) -> str | None:
        """The valid key that lasts longest, or None: then the silo cannot take part."""
        valid = [i for i in self.identities if i.not_after > now]
        return max(valid, key=lambda i: (i.not_after, i.key)).key if valid else None


def parse_silo(document: Mapping[str, Any]) -> Silo:
    """Read a defaulted, validated Silo.

    Raises:
        ValueError: the document is of another kind, or a time has no offset.
    """
    expect_kind(document, KIND)
    spec = document["spec"]
    return Silo(
        metadata=parse_metadata(document),
        accepted=bool(spec["accepted"]),
        identities=tuple(SiloIdentity(i["key"], seconds(i["notAfter"])) for i in spec["identities"]),
    )
