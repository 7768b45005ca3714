"""Resizing, typed and with the filter that the direction calls for."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """uint8 ``[H, W, 3]`` to ``[height, width, 3]``: area averages to shrink, linear to grow."""
    shrinks = width < image.shape[1] or height < image.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)


def pad(image: NDArray[np.uint8], top: int, bottom: int, left: int, right: int) -> NDArray[np.uint8]:
    """Add black rows and columns."""
    return np.pad(image, ((top, bottom), (left, right), (0, 0)))


def warp(image: NDArray[np.uint8], transform: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """Apply an affine transform (float64 ``[2, 3]``), bilinearly, into ``[side, side, 3]``; black outside."""
    return np.asarray(cv2.warpAffine(image, transform, (side, side), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def equalise(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Even out local contrast (contrast-limited adaptive histogram equalisation) of the lightness of an RGB
    image."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)
