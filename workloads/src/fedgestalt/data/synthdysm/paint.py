"""Per-pixel colour of skin, brows, hair and eyes in rest coordinates (numba, called from the shading kernel).

Colours are linear reflectances unless said otherwise; x, y, z are rest coordinates in inter-ocular units.
"""

import math

import numpy as np

from .assets import Floats
from .jit import kernel
from .params import Brows, Eyes, Hair, Skin


@kernel
def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@kernel
def bell(value: float, width: float) -> float:
    return math.exp(-0.5 * (value / width) ** 2)


@kernel
def linear(value: float) -> float:
    """Display value to linear light, gamma 2.2."""
    light: float = max(value, 0.0) ** 2.2
    return light


@kernel
def texture(
    noise: Floats, x: float, y: float, z: float, scale: float, stretch: float, offset: float, channel: int
) -> float:
    """Tileable noise wrapped around the head's axis."""
    u = int(math.atan2(x, z + 1.1) * 1.5 * scale + offset + 4096) % 512
    v = int(y * scale * stretch + offset * 1.7 + 4096) % 512
    found: float = noise[v, u, channel]
    return found


@kernel
def cheek_region(x: float, y: float, z: float) -> float:
    return bell(abs(x) - 0.72, 0.3) * bell(y + 0.52, 0.27) * clip((z + 0.3) * 3, 0, 1)


@kernel
def nose_region(x: float, y: float, z: float) -> float:
    return bell(x, 0.2) * bell(y + 0.55, 0.28) * clip((z - 0.35) / 0.3, 0, 1)


@kernel
def paint_skin(
    skin: Skin,
    x: float,
    y: float,
    z: float,
    lips: float,
    ears: float,
    lids: float,
    broad: float,
    fine: float,
    blotch: float,
    out: Floats,
) -> None:
    """Absorption by melanin and haemoglobin over a pale base, after the Beer-Lambert law."""
    ax = abs(x)
    cheek = cheek_region(x, y, z)
    nose = nose_region(x, y, z)
    under_eye = bell(ax - 0.5, 0.32) * bell(y + 0.12, 0.17) * clip((z + 0.1) * 4, 0, 1)
    lip = clip(lips * 1.15, 0, 1)
    melanin = skin.melanin * (1 + 0.07 * blotch * skin.mottle + 0.03 * broad)
    melanin += 0.10 * under_eye * skin.dark_circles * (0.4 + skin.melanin)
    speckle = clip((fine - 1.0) * 2, 0, 1) * skin.freckles
    melanin += 0.25 * speckle * clip(cheek * 1.4 + nose + 0.25 * bell(y - 0.7, 0.5), 0, 1)
    for k in range(skin.spots.shape[0]):
        distance = math.hypot(x - skin.spots[k, 0], y - skin.spots[k, 1]) / skin.spots[k, 2]
        if z > -0.2:
            melanin += skin.spots[k, 3] * clip(1.3 - distance + 0.2 * broad, 0, 1)
    blood = (
        0.28
        + skin.haemoglobin * (0.45 * cheek + 0.35 * nose + 0.5 * ears + 0.05 * blotch + 0.15 * lids)
        + 0.024 * fine
    )
    if skin.nevus[4] > 0:
        distance = math.hypot((x - skin.nevus[0]) / skin.nevus[2], (y - skin.nevus[1]) / skin.nevus[3])
        blood += skin.nevus[4] * clip(1.4 - distance + 0.3 * broad, 0, 1)
    melanin = clip(melanin * (1 - 0.25 * lip) + 0.10 * lip * skin.melanin, 0.01, 1.6)
    blood = clip(blood + 0.75 * lip * skin.lip_red, 0.05, 2.0)
    pigment = melanin**1.15
    grain = 1 + 0.03 * fine
    out[0] = 0.80 * math.exp(-1.45 * pigment - 0.10 * blood) * grain
    out[1] = 0.66 * math.exp(-2.15 * pigment - 0.75 * blood) * grain
    out[2] = 0.56 * math.exp(-2.90 * pigment - 0.62 * blood) * grain


@kernel
def paint_beard(hair: Hair, x: float, y: float, z: float, lips: float, strand: float, out: Floats) -> None:
    ax = abs(x)
    bare = 1 - clip(lips * 1.15, 0, 1)
    jaw = (
        clip((-0.66 - y + 0.30 * clip(ax - 0.55, 0, 1)) / 0.25, 0, 1)
        * clip((z + 0.9) / 0.5, 0, 1)
        * clip((y + 2.5) / 0.5, 0, 1)
    )
    lip = bell(x, 0.34) * bell(y + 0.83, 0.07) * clip((z - 0.3) * 5, 0, 1)
    cover = max(jaw * hair.beard, lip * hair.moustache)
    cover = max(cover, 0.35 * hair.stubble * max(jaw, lip)) * bare
    cover = clip(cover * clip(0.55 + 0.45 * strand, 0, 1.2), 0, 0.9)
    for c in range(3):
        out[c] += cover * (linear(hair.rgb[c]) - out[c])


@kernel
def paint_brows(brows: Brows, x: float, y: float, z: float, strand: float, fine: float, out: Floats) -> None:
    ax = abs(x)
    along = clip((ax - brows.inner) / (brows.outer - brows.inner), -0.5, 1.5)
    inside = clip(along, 0, 1)
    centre = (
        0.47
        + brows.height
        + brows.arch * 0.11 * math.sin(inside * math.pi)
        - 0.16 * brows.drop * clip(along - 0.45, 0, 1) ** 1.3
    )
    thickness = max(brows.thickness * (1 - 0.55 * inside**1.5), 0.01)
    taper = clip((along + 0.05) / 0.12, 0, 1) * clip((1.03 - along) / 0.2, 0, 1)
    taper *= 1 - brows.lateral_loss * clip((along - 0.55) / 0.15, 0, 1)
    taper = max(taper, brows.synophrys * bell(x, brows.inner * 0.9))
    cover = math.exp(-0.8 * ((y - centre) / thickness) ** 2) * taper * clip(z * 6, 0, 1)
    cover = clip(cover * brows.density * clip(0.78 + 0.30 * strand + 0.12 * fine, 0, 1.2), 0, 0.93)
    for c in range(3):
        out[c] += cover * (linear(brows.rgb[c]) - out[c])


@kernel
def hair_colour(hair: Hair, x: float, strand: float, fine: float, out: Floats) -> None:
    light = clip(0.72 + 0.30 * strand + 0.12 * fine, 0.15, 1.6)
    lock = hair.forelock * bell(x, 0.22)
    out[0] = linear(hair.rgb[0]) * light * (1 - lock) + lock * 0.75
    out[1] = linear(hair.rgb[1]) * light * (1 - lock) + lock * 0.73
    out[2] = linear(hair.rgb[2]) * light * (1 - lock) + lock * 0.70


@kernel
def paint_eye(
    eyes: Eyes,
    side: int,
    dx: float,
    dy: float,
    dz: float,
    gaze: Floats,
    up: float,
    noise: Floats,
    out: Floats,
) -> None:
    """Sclera, iris with limbal ring and pupil by the angle between the surface and the line of sight."""
    angle = math.acos(clip(dx * gaze[0] + dy * gaze[1] + dz * gaze[2], -1, 1))
    turn = math.atan2(dx - gaze[0], dy - gaze[1])
    fibre = noise[int((turn / math.pi * 0.5 + 0.5) * 255) % 512, int(angle * 60) % 512, 1]
    in_iris = clip((angle - eyes.iris) / 0.05, 0, 1)
    in_pupil = clip((angle - eyes.pupil) / 0.035, 0, 1)
    limbus = 1 - 0.55 * clip((angle / eyes.iris - 0.82) / 0.18, 0, 1) ** 2
    glow = 1 + 0.5 * clip(1 - (angle - eyes.pupil) / (eyes.iris - eyes.pupil) * 1.8, 0, 1)
    lid_shade = 1 - 0.55 * clip((up - 0.18) / 0.45, 0, 1)
    away = 1 - 0.10 * clip((angle - 0.5) / 0.6, 0, 1)
    redness = 3 * clip(angle - 0.6, 0, 1)
    for c in range(3):
        white = (
            (0.82, 0.79, 0.76)[c]
            * away
            * (1 - (0.0, 0.05, 0.05)[c] * redness)
            * (1 - eyes.blue_sclera * (0.25, 0.14, 0.02)[c])
        )
        iris = linear(clip(eyes.rgb[side, c] * (1 + 0.22 * fibre) * limbus * glow, 0, 1))
        colour = iris + in_iris * (linear(white) - iris)
        out[c] = (colour * in_pupil + 0.006 * (1 - in_pupil)) * lid_shade


@kernel
def on_cloth(x: float, y: float, z: float) -> float:
    """1 below the neckline."""
    curve = 0.35 * math.cos(clip(x, -1.5, 1.5) * 1.2) if z > -0.5 else 0.0
    return clip((-2.75 - curve - y) * 14, 0, 1)


@kernel
def in_mouth(x: float, y: float, occlusion: float) -> float:
    return clip((0.35 - occlusion) / 0.2, 0, 1) * bell(x, 0.4) * bell(y + 1.0, 0.25)


_WARM = np.array([0.38, 0.16, 0.10], dtype=np.float32)
"""How far light wraps around skin per channel: a cheap stand-in for subsurface scattering."""
