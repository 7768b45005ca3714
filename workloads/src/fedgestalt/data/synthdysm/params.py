"""What a picture is made from. Named tuples of floats and small arrays, so that kernels take them as they are."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Skin(NamedTuple):
    """Pigment and surface. Melanin and haemoglobin drive an exponential absorption model."""

    melanin: float
    haemoglobin: float
    mottle: float
    freckles: float
    dark_circles: float
    lip_red: float
    oil: float
    spots: Floats  # (k, 4): x, y, radius (inter-ocular units), added melanin
    nevus: Floats  # (5,): x, y, radius x, radius y, added haemoglobin


class Hair(NamedTuple):
    """Scalp hair: a displaced shell over the skull and, if `fall` > 0, strands that hang behind the face."""

    rgb: Floats  # (3,) display colour
    length: float  # thickness of the shell, inter-ocular units
    volume_top: float
    hairline: float  # raises (+) or lowers (-) the front hairline
    temple: float  # recession at the temples
    peak: float  # widow's peak
    fringe: float  # how far a fringe falls over the forehead
    parting: float  # x of the parting
    wave: float  # unevenness of the shell
    density: float
    forelock: float
    fall: float  # how far below the eyes long hair ends; 0 = none
    beard: float
    moustache: float
    stubble: float


class Brows(NamedTuple):
    """Painted eyebrows, inter-ocular units."""

    rgb: Floats
    inner: float
    outer: float
    height: float
    arch: float
    drop: float
    thickness: float
    density: float
    lateral_loss: float
    synophrys: float


class Eyes(NamedTuple):
    """Eyeballs and lashes; angles in radians."""

    rgb: Floats  # (2, 3) left, right iris
    iris: float
    pupil: float
    blue_sclera: float
    lashes: float
    gaze: Floats  # (2, 2) left, right: horizontal, vertical


class Light(NamedTuple):
    """One key light with a shadow map, a fill light and a two-colour ambient term; linear RGB."""

    key_direction: Floats
    key: Floats
    fill_direction: Floats
    fill: Floats
    sky: Floats
    ground: Floats
    shadow: float


class Camera(NamedTuple):
    """Pose (radians), framing, lens, sensor and compression."""

    yaw: float
    pitch: float
    roll: float
    distance: float  # head units
    field: float  # width of the picture in head units
    shift_x: float
    shift_y: float
    blur: float  # sigma in pixels of a 160-pixel picture
    white_balance: Floats
    exposure: float
    noise: float
    saturation: float
    jpeg: int
    backdrop: Floats  # (2, 3) linear colours
    backdrop_angle: float
    cloth: Floats  # (3,) display colour
    grey: bool


@dataclass(frozen=True)
class Macro:
    """The coarse build of a head.

    Attributes:
        age: 0 newborn, .1875 child, .5 young adult, 1 old.
        masculinity: 0 to 1.
        ancestry: weights of the African, Asian and European macro targets; they sum to 1.
        muscle, weight: 0 to 1, .5 is average.
    """

    age: float
    masculinity: float
    ancestry: tuple[float, float, float]
    muscle: float
    weight: float


@dataclass
class Recipe:
    """One picture before rendering; phenotypes are applied to it in place."""

    macro: Macro
    morphs: dict[str, float]
    skin: Skin
    hair: Hair
    brows: Brows
    eyes: Eyes
    light: Light
    camera: Camera
    noise_seed: int
