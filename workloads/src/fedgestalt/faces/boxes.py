"""Boxes of candidate faces: float64 ``[K, 4]`` as left, top, right, bottom edges in pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedgestalt.faces.pixels import pad, resize

Boxes = NDArray[np.float64]


def suppress(
    boxes: Boxes, scores: NDArray[np.float64], limit: float, contained: bool = False
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the boxes kept, best score first.

    Args:
        boxes: candidates of one photo.
        scores: ``[K]``.
        limit: a box overlapping a better one by more than this goes.
        contained: divide the intersection by the smaller area rather than by the union, which removes a box
        inside
            another.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = boxes[order]
    corner = np.maximum(ranked[:, None, :2], ranked[None, :, :2])
    extent = np.clip(np.minimum(ranked[:, None, 2:], ranked[None, :, 2:]) - corner, 0, None)
    shared = extent[..., 0] * extent[..., 1]
    area = np.diagonal(shared)
    whole = np.minimum(area[:, None], area) if contained else area[:, None] + area - shared
    overlapping = shared > limit * whole
    alive = np.ones(len(order), dtype=bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~overlapping[i, i + 1 :]
    return order[alive]


def calibrate(boxes: Boxes, offsets: NDArray[np.float64]) -> Boxes:
    """Move each edge by its predicted offset, a fraction of the box's side (arXiv 1604.02878, equation 2)."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved: Boxes = boxes + offsets * sides
    return moved


def squared(boxes: Boxes) -> Boxes:
    """The smallest squares around the boxes' centres that reach their longer sides."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.hstack([centres - half, centres + half])


def closer(boxes: Boxes, factor: float) -> Boxes:
    """The boxes with their sides multiplied by a factor, around the same centres."""
    centres, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * (factor / 2)
    return np.hstack([centres - half, centres + half])


def whole_pixels(boxes: Boxes) -> Boxes:
    """Edges rounded to whole pixels, at least one pixel apart: what is cropped is what is measured."""
    near = np.round(boxes[:, :2])
    return np.hstack([near, np.maximum(np.round(boxes[:, 2:]), near + 1)])


def crop(image: NDArray[np.uint8], box: Boxes, side: int) -> NDArray[np.uint8]:
    """The box (whole pixels, may reach over the edge, black there) resized to ``[side, side, 3]``."""
    height, width = image.shape[:2]
    left, top, right, bottom = (int(edge) for edge in box)
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    margins = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    return resize(pad(inside, *margins) if any(margins) else inside, side, side)
