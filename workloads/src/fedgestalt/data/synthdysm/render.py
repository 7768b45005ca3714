"""Render one recipe: mesh -> visibility -> shading -> lashes -> camera."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .assets import BODY, EYE_LEFT, EYE_RIGHT, HAIR, LASHES, TONGUE, Floats, Head, Ints, load_head
from .camera import expose
from .geometry import Mesh, build_mesh
from .params import Camera, Light, Recipe
from .raster import rasterise
from .shading import shade

_SHADOW_SIZE = 192
_SHADOW_EXTENT = 6.5  # head units covered by the shadow map
_DEPTH_OFFSET = 20.0


@dataclass(frozen=True)
class Picture:
    """A rendered photo.

    Attributes:
        pixels: (size, size, 3) uint8 RGB.
        landmarks: (5, 2) pixels: the eye on the image's left, the other eye, nose tip, mouth corners.
    """

    pixels: NDArray[np.uint8]
    landmarks: Floats


def _modes(head: Head, fall: float) -> Ints:
    """Which triangles are drawn, and from which side; long hair is cut `fall` below the eyes."""
    mode = np.zeros(len(head.surface), np.int32)
    mode[
        (head.surface == BODY)
        | (head.surface == EYE_LEFT)
        | (head.surface == EYE_RIGHT)
        | (head.surface == TONGUE)
    ] = 1
    if fall > 0:
        centre = head.rest[head.triangles].mean(axis=1)
        # Only the curtain behind and beside the face: the front of the helper mesh would cover it.
        away = ~((centre[:, 2] > -0.15) & (abs(centre[:, 0]) < 1.0) & (centre[:, 1] < 1.5))
        mode[(head.surface == HAIR) & away & (centre[:, 1] > -fall)] = 2
    return mode


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.sqrt((vector**2).sum()), dtype=np.float32)


def _shadow_map(head: Head, mesh: Mesh, light: Light, drawn: Ints) -> tuple[Floats, Floats]:
    """Depths seen from the key light and the axes to look them up with."""
    view = light.key_direction
    right = _unit(np.cross(np.array([0, 1, 0], np.float32), view))
    up = np.cross(view, right).astype(np.float32)
    scale, half = _SHADOW_SIZE / _SHADOW_EXTENT, _SHADOW_SIZE / 2
    seen = np.stack(
        [
            half + scale * (mesh.points * right).sum(axis=1),
            half - scale * (mesh.points * up).sum(axis=1),
            _DEPTH_OFFSET + (mesh.points * view).sum(axis=1),
        ],
        axis=1,
    ).astype(np.float32)
    casts = (head.surface == BODY) | ((head.surface == HAIR) & (drawn > 0))
    mode = np.where(casts, 2, 0).astype(np.int32)
    depths, _, _ = rasterise(seen, head.triangles, mode, _SHADOW_SIZE, _SHADOW_SIZE)
    axes = np.array([right, up, view, [scale, half, _DEPTH_OFFSET]], dtype=np.float32)
    return depths, axes


def _backdrop(camera: Camera, size: int, rng: np.random.Generator) -> Floats:
    """(size, size, 3) linear colours: a gradient with soft mottling."""
    ramp = (np.arange(size, dtype=np.float32) + 0.5) / size
    mix = ramp[None] * np.float32(np.cos(camera.backdrop_angle)) + ramp[:, None] * np.float32(
        np.sin(camera.backdrop_angle)
    )
    coarse = rng.normal(size=(6, 6)).astype(np.float32)
    mottle = 1 + 0.18 * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    first, second = camera.backdrop
    image = (first + mix[..., None] * (second - first)) * mottle[..., None]
    return np.asarray(np.maximum(image, 0), dtype=np.float32)


def _landmarks(head: Head, mesh: Mesh) -> Floats:
    marks = head.landmarks
    eyes = [mesh.screen[index, :2].mean(axis=0) for index in (head.eyes[1], head.eyes[0])]
    rest = [mesh.screen[vertex, :2] for vertex in (marks.nose, marks.mouth_right, marks.mouth_left)]
    return np.stack(eyes + rest).astype(np.float32)


def _draw_lashes(head: Head, mesh: Mesh, nearest: Floats, image: Floats, strength: float) -> None:
    size = image.shape[0]
    mode = np.where(head.surface == LASHES, 2, 0).astype(np.int32)
    lash, index, _ = rasterise(mesh.screen, head.triangles, mode, size, size)
    seen = (index >= 0) & (lash > nearest - 0.0006)
    if not seen.any():
        return
    cover = np.clip(cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 0.55 * size / 160) * strength, 0, 0.8)[
        ..., None
    ]
    image += cover * (np.array([0.02, 0.015, 0.012], np.float32) - image)


def render(recipe: Recipe, size: int = 160, supersample: int = 1) -> Picture:
    """Render *recipe* as a size x size photo. Deterministic: the same recipe gives the same pixels.

    Args:
        recipe: everything about the picture; not changed.
        size: width and height in pixels.
        supersample: pixels per output pixel and axis before down-sampling.
    """
    head = load_head()
    rng = np.random.default_rng(recipe.noise_seed)
    full = size * supersample
    mesh = build_mesh(head, recipe.macro, recipe.morphs, recipe.hair, recipe.camera, full)
    drawn = _modes(head, recipe.hair.fall)
    nearest, index, weights = rasterise(mesh.screen, head.triangles, drawn, full, full)
    depths, axes = _shadow_map(head, mesh, recipe.light, drawn)
    image = _backdrop(recipe.camera, full, rng)
    offsets = (rng.random(4) * 512).astype(np.float32)
    centres = np.stack([(mesh.points[i].max(axis=0) + mesh.points[i].min(axis=0)) / 2 for i in head.eyes])
    shade(
        index,
        weights,
        head.triangles,
        head.surface,
        mesh.points,
        mesh.normals,
        head.rest,
        head.traits,
        mesh.hair,
        mesh.rotation,
        centres,
        head.noise,
        offsets,
        depths,
        axes,
        recipe.camera.distance,
        recipe.skin,
        recipe.hair,
        recipe.brows,
        recipe.eyes,
        recipe.light,
        recipe.camera.cloth,
        image,
    )
    if recipe.eyes.lashes > 0:
        _draw_lashes(head, mesh, nearest, image, recipe.eyes.lashes)
    if supersample > 1:
        image = np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), dtype=np.float32)
    return Picture(
        expose(image, recipe.camera, rng), np.asarray(_landmarks(head, mesh) / supersample, dtype=np.float32)
    )
