"""The fused shading kernel: visibility buffer in, linear RGB out."""

import math

import numpy as np

from .assets import BODY, EYE_LEFT, EYE_RIGHT, HAIR, TEETH, TONGUE, Floats, Ints
from .jit import kernel
from .paint import (
    bell,
    cheek_region,
    clip,
    hair_colour,
    in_mouth,
    linear,
    nose_region,
    on_cloth,
    paint_beard,
    paint_brows,
    paint_eye,
    paint_skin,
    texture,
)
from .params import Brows, Eyes, Hair, Light, Skin
from .raster import shadow_at


@kernel
def shade(
    index: Ints,
    weights: Floats,
    triangles: Ints,
    surface: Ints,
    points: Floats,
    normals: Floats,
    rest: Floats,
    traits: Floats,
    hair_depth: Floats,
    rotation: Floats,
    eye_centres: Floats,
    noise: Floats,
    offsets: Floats,
    shadows: Floats,
    shadow_axes: Floats,
    camera_distance: float,
    skin: Skin,
    hair: Hair,
    brows: Brows,
    eyes: Eyes,
    light: Light,
    cloth: Floats,
    image: Floats,
) -> None:
    """Colour every covered pixel of *image* (height, width, 3) in place.

    index, weights: from `rasterise`. points, normals: (m, 3) camera space. traits: (m, 4) occlusion, lips,
    ears, lids. eye_centres: (2, 3). offsets: (4,) texture offsets. shadows: (s, s) depths seen from the key
    light, shadow_axes: (4, 3) its right, up and view axes and (scale, half size, depth offset).
    """
    height, width = index.shape
    p, n, q = np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    colour, strands, gaze = np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros((2, 3), np.float32)
    key, fill = light.key_direction, light.fill_direction
    for side in range(2):
        gx, gy = eyes.gaze[side, 0], eyes.gaze[side, 1]
        vx, vy, vz = math.sin(gx) * math.cos(gy), math.sin(gy), math.cos(gx) * math.cos(gy)
        for r in range(3):
            gaze[side, r] = rotation[r, 0] * vx + rotation[r, 1] * vy + rotation[r, 2] * vz
    scale, half, depth_offset = shadow_axes[3, 0], shadow_axes[3, 1], shadow_axes[3, 2]
    for row in range(height):
        for column in range(width):
            t = index[row, column]
            if t < 0:
                continue
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = weights[row, column, 0], weights[row, column, 1]
            w0 = 1 - w1 - w2
            for c in range(3):
                p[c] = w0 * points[i, c] + w1 * points[j, c] + w2 * points[k, c]
                n[c] = w0 * normals[i, c] + w1 * normals[j, c] + w2 * normals[k, c]
                q[c] = w0 * rest[i, c] + w1 * rest[j, c] + w2 * rest[k, c]
            length = math.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2) + 1e-6
            kind = surface[t]
            occlusion = w0 * traits[i, 0] + w1 * traits[j, 0] + w2 * traits[k, 0]
            lips = w0 * traits[i, 1] + w1 * traits[j, 1] + w2 * traits[k, 1]
            ears = w0 * traits[i, 2] + w1 * traits[j, 2] + w2 * traits[k, 2]
            lids = w0 * traits[i, 3] + w1 * traits[j, 3] + w2 * traits[k, 3]
            x, y, z = q[0], q[1], q[2]
            # ---- view
            vx, vy, vz = -p[0], -p[1], camera_distance - p[2]
            v = math.sqrt(vx * vx + vy * vy + vz * vz)
            vx, vy, vz = vx / v, vy / v, vz / v
            inner = kind == HAIR and n[0] * vx + n[1] * vy + n[2] * vz < 0
            if inner:
                length = -length
            n[0], n[1], n[2] = n[0] / length, n[1] / length, n[2] / length
            # ---- reflectance
            broad = texture(noise, x, y, z, 60, 1, offsets[0], 0)
            fine = texture(noise, x, y, z, 150, 1, offsets[1], 1)
            strand = texture(noise, x, y, z, 120, 0.35, offsets[3], 3)
            hairy, clothed, cavity, wet, lip = 0.0, 0.0, 0.0, 0.0, 0.0
            if kind == BODY:
                blotch = texture(noise, x, y, z, 45, 1, offsets[2], 2)
                lip = clip(lips * 1.15, 0, 1)
                paint_skin(skin, x, y, z, lips, ears, lids, broad, fine, blotch, colour)
                if hair.beard + hair.moustache + hair.stubble > 0:
                    paint_beard(hair, x, y, z, lips, strand, colour)
                paint_brows(brows, x, y, z, strand, fine, colour)
                depth = w0 * hair_depth[i] + w1 * hair_depth[j] + w2 * hair_depth[k]
                hairy = clip((depth + 0.03 * strand + 0.03 * broad) * 7, 0, 1) * hair.density
                if hairy > 0:
                    hair_colour(hair, x, strand, fine, strands)
                    for c in range(3):
                        colour[c] += hairy * (strands[c] - colour[c])
                clothed = on_cloth(x, y, z)
                if clothed > 0:
                    for c in range(3):
                        colour[c] += clothed * (linear(cloth[c]) * (1 + 0.05 * fine) - colour[c])
                cavity = in_mouth(x, y, occlusion)
            elif kind == HAIR:
                hairy, occlusion = (0.0, 0.22) if inner else (1.0, clip(0.62 + 0.2 * z, 0.4, 0.9))
                hair_colour(hair, x, strand, fine, colour)
            elif kind == EYE_LEFT or kind == EYE_RIGHT:
                side = kind - EYE_LEFT
                dx, dy, dz = (
                    p[0] - eye_centres[side, 0],
                    p[1] - eye_centres[side, 1],
                    p[2] - eye_centres[side, 2],
                )
                r = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9  # type: ignore[assignment]
                dx, dy, dz = dx / r, dy / r, dz / r
                up = dx * rotation[0, 1] + dy * rotation[1, 1] + dz * rotation[2, 1]
                paint_eye(eyes, side, dx, dy, dz, gaze[side], up, noise, colour)
                wet, occlusion = 1.0, 0.92
            elif kind == TONGUE:
                colour[0], colour[1], colour[2] = linear(0.75), linear(0.38), linear(0.36)
            elif kind == TEETH:
                colour[0], colour[1], colour[2] = linear(0.86), linear(0.82), linear(0.74)
            # ---- light
            bare = (1 - clothed) * (1 - hairy) if kind == BODY else 0.0
            blocked = 0.0
            if light.shadow > 0:
                sx = half + scale * (
                    p[0] * shadow_axes[0, 0] + p[1] * shadow_axes[0, 1] + p[2] * shadow_axes[0, 2]
                )
                sy = half - scale * (
                    p[0] * shadow_axes[1, 0] + p[1] * shadow_axes[1, 1] + p[2] * shadow_axes[1, 2]
                )
                sz = depth_offset + p[0] * key[0] + p[1] * key[1] + p[2] * key[2]
                blocked = light.shadow * shadow_at(
                    shadows, clip(sx, 0, 2 * half - 1), clip(sy, 0, 2 * half - 1), sz
                )
                if wet > 0:
                    blocked = min(blocked, 0.25)
            lit = 1 - blocked
            facing = n[0] * key[0] + n[1] * key[1] + n[2] * key[2]
            filled = clip(n[0] * fill[0] + n[1] * fill[1] + n[2] * fill[2] + 0.2, 0, 1.2) / 1.2
            hx, hy, hz = vx + key[0], vy + key[1], vz + key[2]
            h = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
            nh = clip((n[0] * hx + n[1] * hy + n[2] * hz) / h, 0, 1)
            vh = clip((vx * hx + vy * hy + vz * hz) / h, 0, 1)
            fresnel = 0.028 + 0.972 * (1 - vh) ** 5
            gloss = 0.0
            if bare > 0:
                zone = 0.5 + 0.8 * nose_region(x, y, z) + 0.5 * bell(y - 0.8, 0.35) * bell(x, 0.5)
                zone += 0.3 * cheek_region(x, y, z) + 0.8 * lip
                gloss = (
                    skin.oil * zone * bare * (1 + 0.25 * fine) * fresnel * (6 * nh**28 + 2.5 * nh**90) * lit
                )
            if hairy > 0:
                tone = 0.012 + 0.35 * (colour[0] + colour[1] + colour[2]) / 3
                gloss += hairy * tone * clip(1 - abs(nh - 0.93) * 6, 0, 1) * clip(0.7 + 0.5 * strand, 0, 2)
            sparkle = 9 * wet * nh**600 if wet > 0 else 0.0
            edge = 0.10 * bare * clip(1 - (n[0] * vx + n[1] * vy + n[2] * vz), 0, 1) ** 3
            openness = clip(occlusion, 0.02, 1)
            for c in range(3):
                wrap = (0.38, 0.16, 0.10)[c] * bare
                diffuse = clip((facing + wrap) / (1 + wrap), 0, 1)
                through = lit ** (0.75, 1.0, 1.1)[c] if bare > 0 else lit
                ambient = light.sky[c] * (0.5 + 0.5 * n[1]) + light.ground[c] * (0.5 - 0.5 * n[1])
                open_c = openness ** (0.8, 1.05, 1.15)[c]
                irradiance = ambient * open_c + filled * light.fill[c] * open_c**0.7
                irradiance += diffuse * through * light.key[c] * open_c**0.35
                image[row, column, c] = (
                    colour[c] * irradiance * (1 - 0.9 * cavity)
                    + gloss * light.key[c]
                    + sparkle
                    + edge * light.sky[c]
                )
