"""InferenceEndpoint: the diagnosis service of one hospital."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .meta import Metadata, expect_kind, parse_metadata
from .reasons import CandidateReason

KIND = "InferenceEndpoint"


class Promotion(StrEnum):
    """Who decides that another release is served."""

    MANUAL = "Manual"
    AUTOMATIC = "Automatic"


@dataclass(frozen=True, slots=True)
class Gates:
    """What a newer release must reach on the site's own test photos. Shares in [0, 1], macro-averaged."""

    min_top5: float
    max_drop: float
    min_photos: int

    def refusal(self, *, top5: float, served: float, photos: int) -> CandidateReason | None:
        """Why a measured release is not promoted, or None where it is.

        Args:
            top5: the newer release's top-5 accuracy on `photos` test photos of the site.
            served: the same of the release that is served now, on the same photos.
        """
        if photos < self.min_photos:
            return CandidateReason.TOO_FEW_PHOTOS
        # Asked this way round, a NaN passes neither gate.
        if not top5 >= self.min_top5:
            return CandidateReason.TOP5_TOO_LOW
        if not served - top5 <= self.max_drop:
            return CandidateReason.DROP_TOO_LARGE
        return None


@dataclass(frozen=True, slots=True)
class Resources:
    """Of the one container: `cpu` and `memory` are Kubernetes quantities."""

    cpu: str
    memory: str
    gpus: int


@dataclass(frozen=True, slots=True)
class InferenceEndpoint:
    """An InferenceEndpoint. `release` is `sha256:` and 64 hexadecimal digits; `gates` is None where a person decides."""

    metadata: Metadata
    release: str
    promotion: Promotion
    gates: Gates | None
    keep_previous: int
    resources: Resources


def parse_endpoint(document: Mapping[str, Any]) -> InferenceEndpoint:
    """Read a defaulted, validated InferenceEndpoint.

    Raises:
        ValueError: the document is of another kind.
        KeyError: a required field is absent: the document was not validated.
    """
    expect_kind(document, KIND)
    spec = document["spec"]
    gates, resources = spec.get("gates"), spec["resources"]
    return InferenceEndpoint(
        metadata=parse_metadata(document),
        release=spec["release"],
        promotion=Promotion(spec["promotion"]),
        gates=None
        if gates is None
        else Gates(float(gates["minTop5"]), float(gates["maxDrop"]), int(gates["minPhotos"])),
        keep_previous=int(spec["keepPrevious"]),
        resources=Resources(resources["cpu"], resources["memory"], int(resources["gpus"])),
    )
