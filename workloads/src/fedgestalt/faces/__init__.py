"""Faces in photos: detection, alignment, quality and the cache of aligned crops."""

from fedgestalt.faces.align import align
from fedgestalt.faces.cache import Face
from fedgestalt.faces.detect import Detection, Detector, detect
from fedgestalt.faces.photo import PhotoError, decode
from fedgestalt.faces.pipeline import AlignedFaces, align_photos, prepare
from fedgestalt.faces.version import PREPROCESSING

__all__ = [
    "PREPROCESSING",
    "AlignedFaces",
    "Detection",
    "Detector",
    "Face",
    "PhotoError",
    "align",
    "align_photos",
    "decode",
    "detect",
    "prepare",
]
