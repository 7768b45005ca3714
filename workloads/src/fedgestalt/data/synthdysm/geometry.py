"""From a recipe to a posed mesh: macro blend, detail morphs, subdivision, hair shell, pose and projection."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .assets import Floats, Head
from .jit import kernel
from .params import Camera, Hair, Macro
from .raster import vertex_normals

_AGES = ((0.0, "baby"), (0.1875, "child"), (0.5, "young"), (1.0, "old"))
_MUSCLE = ((0.0, "minmuscle"), (0.5, "averagemuscle"), (1.0, "maxmuscle"))
_WEIGHT = ((0.0, "minweight"), (0.5, "averageweight"), (1.0, "maxweight"))
_ANCESTRIES = ("african", "asian", "caucasian")


@dataclass(frozen=True)
class Mesh:
    """A head in camera space: unit = head height above the eyes, origin at its pivot, z towards the camera."""

    points: Floats
    normals: Floats
    screen: Floats
    hair: Floats  # (m,) signed depth inside the hair region, positive inside
    rotation: Floats


def _between(value: float, stops: tuple[tuple[float, str], ...]) -> list[tuple[str, float]]:
    """Linear interpolation weights of the two stops around *value*."""
    value = min(max(value, stops[0][0]), stops[-1][0])
    for (a, low), (b, high) in pairwise(stops):
        if value <= b:
            share = (value - a) / (b - a)
            return [(low, 1 - share), (high, share)]
    raise AssertionError("unreachable: value is clamped to the stops")


def macro_weights(head: Head, macro: Macro) -> Floats:
    """(96,) weights of the macro targets."""
    weights = np.zeros(len(head.macro_index), np.float32)
    for sex, ws in (("female", 1 - macro.masculinity), ("male", macro.masculinity)):
        for age, wa in _between(macro.age, _AGES):
            for name, wr in zip(_ANCESTRIES, macro.ancestry, strict=True):
                weights[head.macro_index[f"{name}-{sex}-{age}"]] += ws * wa * wr
            for muscle, wm in _between(macro.muscle, _MUSCLE):
                for weight, ww in _between(macro.weight, _WEIGHT):
                    row = head.macro_index.get(f"universal-{sex}-{age}-{muscle}-{weight}")
                    if row is not None:
                        weights[row] += ws * wa * wm * ww
    return weights


@kernel
def _blend(base: Floats, targets: Floats, rows: NDArray[np.int64], weights: Floats) -> Floats:
    out = base.copy()
    for r in range(rows.shape[0]):
        for i in range(base.shape[0]):
            for c in range(3):
                out[i, c] += weights[r] * targets[rows[r], i, c]
    return out


def coarse_shape(head: Head, macro: Macro, morphs: dict[str, float]) -> tuple[Floats, float]:
    """(n, 3) coarse vertices and the head's scale (height of the skull above the eyes).

    Detail morphs were sculpted on adults: they are scaled by the patient's own inter-ocular distance,
    or newborn faces would be torn apart.
    """
    weights = macro_weights(head, macro)
    rows = np.flatnonzero(weights)
    points = _blend(head.base, head.macro, rows, weights[rows])
    left, right = (points[index].mean(axis=0) for index in head.eyes_coarse)
    scale = float(np.linalg.norm(left - right)) / 0.58
    skull = float(points[head.skin_coarse, 1].max() - (left + right)[1] / 2) / 1.05
    for name in sorted(morphs):
        amount = morphs[name]
        if amount:
            index, displacement = head.detail[name]
            points[index] += np.float32(amount * scale) * displacement
    return points, skull


@kernel
def _hair_depth(rest: Floats, scalp: Floats, hair: Hair, out: Floats) -> None:
    """Signed depth of each vertex inside this patient's hair region."""
    for i in range(rest.shape[0]):
        x, y, z = rest[i, 0], rest[i, 1], rest[i, 2]
        ax = abs(x)
        beyond = max(ax - 0.70 + 0.5 * hair.temple, 0.0)
        line = (
            1.20
            + hair.hairline
            - 0.12 * ax * ax
            - 0.88 * beyond**1.4
            + hair.temple * np.exp(-0.5 * ((ax - 0.55) / 0.22) ** 2) * 0.5
        )
        line -= hair.peak * np.exp(-0.5 * (x / 0.13) ** 2)
        # A fringe falls from the parting to both sides and ends before the temples.
        fall = min(abs(x - hair.parting) / 0.25, 1.0)
        line -= hair.fringe * (0.55 + 0.45 * fall) * min(max((1.05 - ax) / 0.3, 0.0), 1.0)
        front = y - line
        if z < -0.4 and y < 0.9:
            front = -1.0
        depth = min(max(front, scalp[i, 0] - max(hair.hairline, 0.0)), scalp[i, 1])
        out[i] = min(max(depth, -1.0), 1.0) if scalp[i, 1] > -1 else -1.0


@kernel
def _grow_hair(
    points: Floats, normals: Floats, rest: Floats, depth: Floats, hair: Hair, unit: float, noise: Floats
) -> None:
    """Push the scalp outwards by the hair's thickness."""
    for i in range(points.shape[0]):
        inside = min(max(depth[i] * 1.8, 0.0), 1.0)
        if inside <= 0:
            continue
        angle = np.arctan2(rest[i, 0], rest[i, 2] + 1.1)
        wave = noise[int(rest[i, 1] * 40 + 700) % 512, int(angle * 60 + 700) % 512, 2]
        top = min(max(rest[i, 1] - 0.9, 0.0), 1.0)
        thickness = inside * hair.length * (1 + hair.volume_top * top) * (1 + hair.wave * wave) * unit
        for c in range(3):
            points[i, c] += normals[i, c] * thickness


def _rotation(camera: Camera) -> Floats:
    cy, sy = np.cos(camera.yaw), np.sin(camera.yaw)
    cp, sp = np.cos(camera.pitch), np.sin(camera.pitch)
    cr, sr = np.cos(camera.roll), np.sin(camera.roll)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(roll @ pitch @ yaw, dtype=np.float32)


@kernel
def _pose(points: Floats, pivot: Floats, rotation: Floats, scale: float) -> Floats:
    """Explicit products: a BLAS call may round differently from machine to machine."""
    out = np.empty_like(points)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - pivot[0], points[i, 1] - pivot[1], points[i, 2] - pivot[2]
        for r in range(3):
            out[i, r] = (rotation[r, 0] * x + rotation[r, 1] * y + rotation[r, 2] * z) / scale
    return out


def build_mesh(
    head: Head, macro: Macro, morphs: dict[str, float], hair: Hair, camera: Camera, size: int
) -> Mesh:
    """Shape, subdivide, grow hair, pose and project a head onto a size x size picture."""
    coarse, skull = coarse_shape(head, macro, morphs)
    points = np.ascontiguousarray(head.subdivision @ coarse, dtype=np.float32)
    left, right = (points[index].mean(axis=0) for index in head.eyes)
    centre, unit = (left + right) / 2, float(np.linalg.norm(left - right))
    depth = np.empty(len(points), np.float32)
    _hair_depth(head.rest, head.scalp, hair, depth)
    if hair.length > 0:
        _grow_hair(points, vertex_normals(points, head.triangles), head.rest, depth, hair, unit, head.noise)
    pivot = (centre + np.array([0, -0.35, -0.75]) * skull).astype(np.float32)
    rotation = _rotation(camera)
    posed = _pose(points, pivot, rotation, skull)
    focal = size * camera.distance / camera.field
    range_ = camera.distance - posed[:, 2]
    screen = np.stack(
        [
            size * (0.5 + camera.shift_x) + focal * posed[:, 0] / range_,
            size * (0.5 + camera.shift_y) - focal * posed[:, 1] / range_,
            1 / range_,
        ],
        axis=1,
    ).astype(np.float32)
    return Mesh(posed, vertex_normals(posed, head.triangles), screen, depth, rotation)
