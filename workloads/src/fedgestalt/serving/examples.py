"""Examples for OpenAPI, of invented syndromes. A test holds them against the schemas."""

from __future__ import annotations

from typing import Any, Final

from fedgestalt.faces.quality import REMEDIES, Finding
from fedgestalt.flake.bands import BANDS
from fedgestalt.serving.answers import NOTICE
from fedgestalt.serving.problems import Code, Problem

DETAILS: Final = {
    Code.PHOTO_MISSING: "the body or the part `photo` is empty",
    Code.PHOTO_TYPE_UNSUPPORTED: "the Content-Type is no type of photo that is read",
    Code.PHOTO_TOO_LARGE: "at most 16777216 bytes are read",
    Code.PHOTO_UNREADABLE: "the bytes are neither a JPEG nor a PNG file",
    Code.PHOTO_UNFIT: "found: blurred",
    Code.UPLOAD_TIMED_OUT: "the photo was not here after 60 s",
    Code.FOREIGN_PAGE: "the request was made by another site's page",
    Code.BUSY: "8 photos are being analysed or wait",
    Code.NOT_READY: "the release is being verified and loaded",
    Code.INTERNAL: "RuntimeError",
}
_MADE_FROM: Final = {
    "quality": {
        "width": 1200,
        "height": 1600,
        "faces": 1,
        "box": [310, 420, 890, 1190],
        "findings": [{"code": "head-turned", "fix": REMEDIES[Finding.HEAD_TURNED]}],
    },
    "model": {
        "bundle": "sha256:" + "5b" * 32,
        "preprocessing": "mtcnn-arcface112/1",
        "members": [{"name": "r16", "extractor": "resnet_s16"}],
    },
    "release": {"digest": "a7" * 32, "name": "gm-2026-09"},
    "epoch": "c3" * 32,
    "gallery": {"own": 812, "federation": 3204},
}


def _candidate(rank: int, syndrome: str, band: int, source: str) -> dict[str, Any]:
    return {
        "rank": rank,
        "syndrome": syndrome,
        "name": None,
        "band": band,
        "source": source,
        "case": f"{rank:02x}" * 16,
    }


ANALYSES: Final[dict[str, Any]] = {
    "federation answers": {
        "value": {
            "notice": NOTICE,
            "conclusion": {
                "code": "CandidatesToConsider",
                "text": "2 candidates have a case that is nearer than the farthest band. None of them is a diagnosis.",
            },
            "local": {"candidates": [_candidate(1, "SYN:F012", BANDS - 1, "local")]},
            "federated": {
                "candidates": [
                    _candidate(1, "SYN:R003", 1, "federated"),
                    _candidate(2, "SYN:F012", BANDS, "federated"),
                ],
                "budgetLeft": 1873,
            },
            "notices": [],
            **_MADE_FROM,
        }
    },
    "hub unreachable, no match": {
        "value": {
            "notice": NOTICE,
            "conclusion": {
                "code": "NoConvincingMatch",
                "text": "No convincing match: no case in the galleries is near this photo. The lists below are only an "
                "order.",
            },
            "local": {"candidates": [_candidate(1, "SYN:F012", BANDS, "local")]},
            "federated": None,
            "notices": [
                {
                    "code": "FederationUnreachable",
                    "text": "Matches come from this hospital's own gallery only: no answer of the hub within 2 s",
                }
            ],
            **_MADE_FROM,
        }
    },
}


def problem(code: Code) -> dict[str, Any]:
    """The example of a problem."""
    found = Finding.BLURRED
    extra = {"findings": [{"code": str(found), "fix": REMEDIES[found]}]} if code is Code.PHOTO_UNFIT else {}
    return Problem(code, DETAILS[code], extra).document()
