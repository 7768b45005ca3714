"""Alignment to the ArcFace template: five landmarks, one similarity transform, 112 x 112 pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedgestalt.faces.pixels import resize, warp

SIDE = 112
# Where the five landmarks lie in an aligned crop (InsightFace's published reference points), in pixels.
TEMPLATE: NDArray[np.float64] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """The least-squares similarity transform from one point set to another.

    Umeyama 1991 (IEEE TPAMI 13(4), equations 40 to 43): rotation, uniform scale and shift, no reflection.

    Args:
        source, target: ``[K, 2]``, K >= 2, as x and y.

    Returns:
        float64 ``[2, 3]``, to be applied to (x, y, 1).

    Raises:
        ValueError: shapes differ, or the source points coincide.
    """
    a, b = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2 or len(a) < 2:
        raise ValueError(f"need two equal sets of at least two points, not {a.shape} and {b.shape}")
    centre_a, centre_b = a.mean(axis=0), b.mean(axis=0)
    x, y = a - centre_a, b - centre_b
    variance = (x**2).sum() / len(a)
    if not variance > 0:
        raise ValueError("the source points coincide: no transform maps them onto the target")
    u, singular, vt = np.linalg.svd(y.T @ x / len(a))
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
    rotation = (u * sign) @ vt
    scale = (singular * sign).sum() / variance
    return np.hstack([scale * rotation, (centre_b - scale * rotation @ centre_a)[:, None]])


def align(image: NDArray[np.uint8], landmarks: ArrayLike) -> NDArray[np.uint8]:
    """The aligned crop, uint8 ``[112, 112, 3]``, black where it reaches over the photo's edge.

    Args:
        image: uint8 ``[H, W, 3]``.
        landmarks: ``[5, 2]`` in the photo's pixels, in the order of ``Detection.landmarks``.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    scale = float(np.sqrt(np.linalg.det(similarity(points, TEMPLATE)[:, :2])))
    if scale < 1:
        # Warping samples single pixels: average those that share one of the crop's first, or fine detail
        # aliases.
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = resize(image, *size)
        points = (points + 0.5) * np.array([size[0] / width, size[1] / height]) - 0.5
    return warp(image, similarity(points, TEMPLATE), SIDE)
