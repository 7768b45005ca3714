"""The gate before the networks: the most prominent face of a photo, what is wrong with it, and how to mend that.

Light and the turn of the head are reported but stop nothing: the mean grey level of a face depends on its skin, and a limit
on it would refuse some patients more often than others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.faces import Detector, PhotoError, align, decode
from fedgestalt.faces.quality import MIN_SHARPNESS, REMEDIES, Assessment, Finding, assess
from fedgestalt.serving.problems import Code, Problem

STOPPING: Final = frozenset({Finding.NO_FACE, Finding.SEVERAL_FACES, Finding.HEAD_TILTED, Finding.BLURRED})
MIN_EYE_DISTANCE: Final = 20.0
"""Pixels. A face whose eyes are nearer stops; up to the 30 of `FACE_TOO_SMALL` it is only reported (the crop has 35)."""
_MIDDLE_GREY: Final = 128.0
_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


@dataclass(frozen=True)
class Portrait:
    """A photo that passed the gate.

    Attributes:
        crop: the aligned face, uint8 ``[112, 112, 3]``, RGB.
        findings: what was found wrong with it.
        faces: how many faces the photo has.
        box: left, top, right, bottom of the face that was taken, pixels of the upright photo.
        size: width and height of the upright photo, pixels.
    """

    crop: NDArray[np.uint8]
    findings: tuple[Finding, ...]
    faces: int
    box: tuple[int, int, int, int]
    size: tuple[int, int]


def portrait(photo: bytes, detector: Detector, *, proceed: bool) -> Portrait:
    """Decode a photo, turn it upright by its EXIF orientation, drop all other metadata, find and align the face.

    Args:
        photo: a JPEG or PNG file's bytes.
        proceed: go on despite findings, with the largest face. Without a face nothing goes on.

    Raises:
        Problem: PhotoUnreadable, or PhotoUnfit with a fix per finding.
    """
    if not photo.startswith(_SIGNATURES):
        raise Problem(Code.PHOTO_UNREADABLE, "the bytes are neither a JPEG nor a PNG file")
    try:
        image = decode(photo)
    except PhotoError as error:
        raise Problem(Code.PHOTO_UNREADABLE, str(error)) from None
    detection = detector.detect([image])[0]
    assessment = assess(image, detection)
    findings = [finding for finding in assessment.findings if _holds(finding, assessment)]
    stopping = [finding for finding in findings if _stops(finding, assessment)]
    if detection is None or (stopping and not proceed):
        raise Problem(
            Code.PHOTO_UNFIT,
            "found: " + ", ".join(stopping),
            {"findings": [{"code": str(finding), "fix": REMEDIES[finding]} for finding in findings]},
        )
    height, width = image.shape[:2]
    left, top, right, bottom = (round(float(edge)) for edge in detection.box)
    return Portrait(
        align(image, detection.landmarks),
        tuple(findings),
        detection.faces,
        (left, top, right, bottom),
        (width, height),
    )


def _holds(finding: Finding, assessment: Assessment) -> bool:
    """Whether a finding stands. Sharpness is measured in grey levels, so a dark face would pass for a blurred one:
    here its limit falls with the square of the light, as the measure itself does."""
    if finding is not Finding.BLURRED:
        return True
    light = min(1.0, assessment.measurements["light"] / _MIDDLE_GREY)
    return assessment.measurements["sharpness"] < MIN_SHARPNESS * light**2


def _stops(finding: Finding, assessment: Assessment) -> bool:
    if finding is Finding.FACE_TOO_SMALL:
        return assessment.measurements["eye distance"] < MIN_EYE_DISTANCE
    return finding in STOPPING
