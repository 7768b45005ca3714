"""Numba kernels: vertex normals, a z-buffer rasteriser and a soft shadow map."""

import math

import numpy as np
from numpy.typing import NDArray

from .jit import kernel

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@kernel
def vertex_normals(points: Floats, triangles: Ints) -> Floats:
    """(m, 3) unit normals, area-weighted over the triangles that meet in each vertex."""
    normals = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += x
            normals[k, 1] += y
            normals[k, 2] += z
    for i in range(normals.shape[0]):
        length = math.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-9
        normals[i, 0] /= length
        normals[i, 1] /= length
        normals[i, 2] /= length
    return normals


@kernel
def rasterise(
    screen: Floats, triangles: Ints, mode: Ints, height: int, width: int
) -> tuple[Floats, Ints, Floats]:
    """Nearest triangle per pixel centre.

    Args:
        screen: (m, 3) pixel x, pixel y and a nearness that grows towards the viewer (1/z, or a depth
            offset so as to be positive in an orthographic view).
        triangles: (t, 3) vertex indices.
        mode: (t,) 0 skips a triangle, 1 draws its front face only, 2 draws both faces.

    Returns:
        nearness (height, width), 0 where empty; triangle index or -1; the second and third barycentric
        coordinates, perspective-correct, (height, width, 2).
    """
    nearest = np.zeros((height, width), np.float32)
    index = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 2), np.float32)
    for t in range(triangles.shape[0]):
        if mode[t] == 0:
            continue
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, w0 = screen[i, 0], screen[i, 1], screen[i, 2]
        x1, y1, w1 = screen[j, 0], screen[j, 1], screen[j, 2]
        x2, y2, w2 = screen[k, 0], screen[k, 1], screen[k, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0 or (mode[t] == 1 and area > 0):
            continue
        left = max(0, int(math.ceil(min(x0, x1, x2) - 0.5)))
        right = min(width - 1, int(math.floor(max(x0, x1, x2) - 0.5)))
        top = max(0, int(math.ceil(min(y0, y1, y2) - 0.5)))
        bottom = min(height - 1, int(math.floor(max(y0, y1, y2) - 0.5)))
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            py = y + 0.5
            for x in range(left, right + 1):
                px = x + 0.5
                b1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) * inverse
                b2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) * inverse
                b0 = 1 - b1 - b2
                if b0 < 0 or b1 < 0 or b2 < 0:
                    continue
                w = b0 * w0 + b1 * w1 + b2 * w2
                if w > nearest[y, x]:
                    nearest[y, x] = w
                    index[y, x] = t
                    weights[y, x, 0] = b1 * w1 / w
                    weights[y, x, 1] = b2 * w2 / w
    return nearest, index, weights


@kernel
def shadow_at(depths: Floats, x: float, y: float, depth: float) -> float:
    """Fraction of light blocked at a point of the shadow map, filtered over 5 x 5 texels."""
    height, width = depths.shape
    column, row = int(x), int(y)
    blocked = 0.0
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            stored = depths[min(max(row + dy, 0), height - 1), min(max(column + dx, 0), width - 1)]
            if stored > 0:
                blocked += min(max((stored - depth - 0.05) / 0.12, 0.0), 1.0)
    return blocked / 25
