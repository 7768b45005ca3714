"""A first look at whether a photo is fit for matching: each finding comes with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fedgestalt.faces.align import align
from fedgestalt.faces.detect import Detection

MIN_EYE_DISTANCE = 30.0  # pixels; the aligned crop has 35, so less means enlarging
MAX_ROLL = 30.0  # degrees
MAX_TURN = 0.35  # how far the nose may lie off the eyes' midline, in eye distances
MIN_SHARPNESS = 12.0  # variance of the aligned crop's Laplacian, grey levels squared
LIGHT_RANGE = (45.0, 225.0)  # mean grey level of the aligned crop


class Finding(StrEnum):
    """What can be wrong with a photo."""

    NO_FACE = "no-face"
    SEVERAL_FACES = "several-faces"
    FACE_TOO_SMALL = "face-too-small"
    HEAD_TILTED = "head-tilted"
    HEAD_TURNED = "head-turned"
    BLURRED = "blurred"
    TOO_DARK = "too-dark"
    TOO_BRIGHT = "too-bright"


REMEDIES: dict[Finding, str] = {
    Finding.NO_FACE: "Take a frontal portrait with the whole face in the frame.",
    Finding.SEVERAL_FACES: "Crop the photo so that only the patient is in it.",
    Finding.FACE_TOO_SMALL: "Come closer or crop less tightly from a larger original.",
    Finding.HEAD_TILTED: "Rotate the photo until both eyes are level.",
    Finding.HEAD_TURNED: "Take the photo from the front, with the patient looking into the camera.",
    Finding.BLURRED: "Focus on the face and hold the camera still.",
    Finding.TOO_DARK: "Use more light from the front.",
    Finding.TOO_BRIGHT: "Use less light, or lower the exposure.",
}


@dataclass(frozen=True)
class Assessment:
    """Findings, most important first, and the measurements behind them.

    Attributes:
        findings: empty if nothing was found wrong.
        measurements: by name: eye distance (pixels), roll (degrees), turn (eye distances), sharpness, light.
    """

    findings: tuple[Finding, ...]
    measurements: dict[str, float]


def assess(image: NDArray[np.uint8], detection: Detection | None) -> Assessment:
    """Judge a photo (RGB, uint8 ``[H, W, 3]``) by its detection. Limits are rules of thumb, not validated."""
    if detection is None:
        return Assessment((Finding.NO_FACE,), {})
    right, left, nose = detection.landmarks[:3].astype(np.float64)
    across = left - right
    distance = float(np.hypot(*across))
    roll = float(np.degrees(np.arctan2(across[1], across[0])))
    turn = float((nose - (left + right) / 2) @ across) / max(distance, 1e-9) ** 2
    grey = align(image, detection.landmarks).astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    middle = grey[28:-16, 20:-20]  # the face without hair and background
    laplacian = (
        4 * middle[1:-1, 1:-1] - middle[:-2, 1:-1] - middle[2:, 1:-1] - middle[1:-1, :-2] - middle[1:-1, 2:]
    )
    sharpness, light = float(laplacian.var()), float(middle.mean())
    checks = (
        (Finding.SEVERAL_FACES, detection.faces > 1),
        (Finding.FACE_TOO_SMALL, distance < MIN_EYE_DISTANCE),
        (Finding.HEAD_TILTED, abs(roll) > MAX_ROLL),
        (Finding.HEAD_TURNED, abs(turn) > MAX_TURN),
        (Finding.BLURRED, sharpness < MIN_SHARPNESS),
        (Finding.TOO_DARK, light < LIGHT_RANGE[0]),
        (Finding.TOO_BRIGHT, light > LIGHT_RANGE[1]),
    )
    measured = {"eye distance": distance, "roll": roll, "turn": turn, "sharpness": sharpness, "light": light}
    return Assessment(tuple(finding for finding, found in checks if found), measured)
