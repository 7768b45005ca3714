"""Who a synthetic patient is: build, shape, skin, hair and brows, constant over all of their photos."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .assets import Floats, load_head
from .params import Hair, Macro, Skin
from .population import NEUTRAL, Population

_OPPOSITES = (
    ("-decr", "-incr"),
    ("-down", "-up"),
    ("-in", "-out"),
    ("-backward", "-forward"),
    ("-concave", "-convex"),
    ("-compress", "-uncompress"),
)
_HEAD_SHAPES = ("oval", "round", "rectangular", "square", "triangular", "invertedtriangular", "diamond")
_DARK_HAIR = ((0.05, 0.04, 0.035), (0.09, 0.065, 0.05), (0.15, 0.10, 0.07))
_ANY_HAIR = (
    (0.10, 0.07, 0.05),
    (0.22, 0.14, 0.09),
    (0.36, 0.24, 0.15),
    (0.48, 0.35, 0.20),
    (0.60, 0.46, 0.28),
    (0.74, 0.62, 0.44),
    (0.45, 0.20, 0.10),
)
_IRISES = (
    (0.20, 0.11, 0.06),
    (0.30, 0.18, 0.10),
    (0.36, 0.22, 0.12),
    (0.42, 0.34, 0.20),
    (0.38, 0.46, 0.34),
    (0.42, 0.52, 0.62),
    (0.52, 0.58, 0.62),
)
# Displacements that move a whole feature act on more of the picture than those that reshape it.
_STRONG = ("trans", "epicanthus", "height", "corner", "age")
_GLOBAL = ("head-", "neck", "ear-", "forehead")
SHAPE_SPREAD = 0.20
"""Standard deviation of the shape modes: twice the prototype's, so that strangers differ."""


@dataclass(frozen=True)
class Identity:
    """One person. All fields are constant over the person's photos."""

    macro: Macro
    morphs: tuple[tuple[str, float], ...]
    skin: Skin
    hair: Hair
    brow_rgb: Floats
    brow_shape: tuple[
        float, float, float, float, float, float
    ]  # inner, outer, height, arch, thickness, density
    iris_rgb: Floats  # (3,)
    iris_size: float
    lashes: float


@lru_cache(maxsize=1)
def shape_modes() -> tuple[tuple[tuple[str, str], ...], ...]:
    """Opposite pairs of morph targets; a mode holds one pair, or the left and the right one."""
    names = load_head().detail
    modes: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(names):
        if name.startswith(
            (
                "au-",
                "asym",
                "head-trans",
                "head-angle",
                "neck-trans",
                "measure",
                "mouth-trans-in",
                "nose-trans-in",
            )
        ):
            continue
        for low, high in _OPPOSITES:
            stem = name.removesuffix(low)
            if stem != name and stem + high in names:
                modes.setdefault(stem.removeprefix("l-").removeprefix("r-"), []).append((name, stem + high))
    return tuple(tuple(pairs) for pairs in modes.values())


def _morphs(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    out: dict[str, float] = {}
    for pairs in shape_modes():
        stem = pairs[0][0]
        spread = SHAPE_SPREAD * (0.55 if any(word in stem for word in _STRONG) else 1.0)
        spread *= 0.6 if any(word in stem for word in _GLOBAL) else 1.0
        amount = float(np.clip(rng.normal() * spread, -0.9, 0.9))
        for low, high in pairs:
            side = amount + (float(rng.normal()) * 0.03 if len(pairs) > 1 else 0.0)
            out[high if side > 0 else low] = abs(side)
    for shape in rng.choice(len(_HEAD_SHAPES), size=2, replace=False):
        out[f"head-{_HEAD_SHAPES[shape]}"] = float(rng.uniform(0, 0.65))
    for flank in ("l", "r"):
        out[f"asym-{('jaw', 'nose', 'mouth', 'cheek')[int(rng.integers(4))]}-1-{flank}"] = float(
            abs(rng.normal()) * 0.12
        )
    return tuple(sorted(out.items()))


def _pick(rng: np.random.Generator, palette: tuple[tuple[float, float, float], ...]) -> Floats:
    return np.asarray(palette[int(rng.integers(len(palette)))], dtype=np.float32)


def _hair(rng: np.random.Generator, macro: Macro, dark: float) -> Hair:
    infant, adult, old = macro.age < 0.06, macro.age > 0.38, macro.age > 0.6
    male, african = macro.masculinity > 0.5, macro.ancestry[0] > 0.55
    rgb = _pick(rng, _DARK_HAIR) if rng.random() < dark else _pick(rng, _ANY_HAIR)
    rgb = np.clip(rgb * (1 + rng.normal() * 0.12) + rng.normal(size=3) * 0.01, 0.02, 0.9).astype(np.float32)
    if old and rng.random() < 0.75:
        grey = float(rng.uniform(0.3, 1.0))
        rgb = (
            rgb * (1 - grey) + grey * np.array([0.62, 0.61, 0.60], np.float32) * rng.uniform(0.75, 1.15)
        ).astype(np.float32)
    style = float(rng.random())
    length, fall, volume, wave = 0.06, 0.0, 0.0, 0.1
    if infant:
        length = float(rng.choice([0.02, rng.uniform(0.05, 0.2)]))
    elif style < 0.20:
        length = float(rng.uniform(0.03, 0.08))
    elif style < 0.52:
        length, volume = float(rng.uniform(0.10, 0.24)), float(rng.uniform(0.0, 0.9))
    elif style < (0.64 if male else 0.68):
        length, volume = float(rng.uniform(0.26, 0.48)), float(rng.uniform(-0.2, 0.7))
    else:
        length, volume = float(rng.uniform(0.12, 0.34)), float(rng.uniform(-0.2, 0.5))
        if not male or rng.random() < 0.35:
            fall = float(rng.uniform(0.9, 2.7))
    if not infant:
        wave = float(rng.uniform(0.02, 0.25))
    if african and not infant and rng.random() < 0.6:
        length, wave = length * float(rng.uniform(1.0, 1.7)), float(rng.uniform(0.05, 0.15))
        fall = 0.0
    fringe = float(rng.uniform(0.15, 0.62)) if not infant and rng.random() < (0.30 if male else 0.45) else 0.0
    receding = male and adult and rng.random() < 0.35 + 0.3 * old
    hairline = float(rng.normal() * 0.09 + 0.06 * infant + (rng.uniform(0.1, 0.42) if receding else 0.0))
    density = float(rng.uniform(0.2, 0.97)) if infant else float(rng.uniform(0.88, 0.99))
    if receding and rng.random() < 0.3:
        density *= float(rng.uniform(0.25, 0.8))
    bearded = male and macro.age > 0.42
    return Hair(
        rgb=rgb,
        length=length,
        volume_top=volume,
        hairline=hairline,
        temple=float(np.clip(abs(rng.normal()) * 0.15 + (0.25 if receding else 0.0), 0, 0.6)),
        peak=float(max(rng.normal() * 0.09, 0.0)),
        fringe=0.0 if receding else fringe,
        parting=float(rng.normal() * 0.35),
        wave=wave,
        density=density,
        forelock=0.0,
        fall=fall,
        beard=float(rng.uniform(0.3, 1.0)) if bearded and rng.random() < 0.3 else 0.0,
        moustache=float(rng.uniform(0.4, 1.0)) if bearded and rng.random() < 0.35 else 0.0,
        stubble=float(rng.uniform(0.2, 1.0)) if bearded else 0.0,
    )


def _skin(rng: np.random.Generator, macro: Macro, dark: float) -> Skin:
    african, asian, _ = macro.ancestry
    melanin = float(np.clip(0.09 + 0.70 * african + 0.17 * asian + rng.normal() * 0.10, 0.02, 1.1))
    infant = macro.age < 0.06
    count = int(rng.poisson(1.2 if not infant else 0.2))
    moles = np.stack(
        [
            rng.uniform(-0.95, 0.95, count),
            rng.uniform(-1.4, 0.9, count),
            rng.uniform(0.018, 0.045, count),
            rng.uniform(0.25, 0.6, count),
        ],
        axis=1,
    ).astype(np.float32)
    return Skin(
        melanin=melanin,
        haemoglobin=float(rng.uniform(0.35, 1.15) + 0.2 * infant),
        mottle=float(rng.uniform(0.4, 1.2)),
        freckles=float(0 if infant else max(0.0, rng.normal() * 0.7) * (1 - min(dark, 1.0))),
        dark_circles=float(rng.uniform(0, 1.0)),
        lip_red=float(rng.uniform(0.3, 1.15)),
        oil=float(rng.uniform(0.2, 0.9)),
        spots=moles,
        nevus=np.array([0, 0, 1, 1, 0], np.float32),
    )


def sample_identity(rng: np.random.Generator, population: Population = NEUTRAL) -> Identity:
    """Draw a person from *population*."""
    ancestry = population.draw_ancestry(rng)
    age = population.draw_age(rng)
    macro = Macro(
        age=age,
        masculinity=float(np.clip(rng.beta(0.35, 0.35), 0, 1)),
        ancestry=ancestry,
        muscle=float(rng.uniform(0.2, 0.85)),
        weight=float(rng.uniform(0.1, 0.95)),
    )
    dark = ancestry[0] + 0.9 * ancestry[1]
    infant, child = age < 0.06, age < 0.15
    hair = _hair(rng, macro, dark)
    density = (0.45 if infant else 0.75 if child else 1.0) * float(rng.uniform(0.55, 1.3))
    brow = hair.rgb * float(rng.uniform(0.5, 0.95))
    return Identity(
        macro=macro,
        morphs=_morphs(rng),
        skin=_skin(rng, macro, dark),
        hair=hair,
        brow_rgb=brow.astype(np.float32),
        brow_shape=(
            float(rng.uniform(0.12, 0.24)),
            float(rng.uniform(0.82, 1.0)),
            float(rng.normal() * 0.045),
            float(rng.uniform(0.0, 1.25)),
            float(rng.uniform(0.045, 0.125))
            * (0.8 if child else 1.0)
            * (1.0 if macro.masculinity > 0.5 else 0.85),
            density,
        ),
        iris_rgb=_pick(rng, _IRISES[:3]) if rng.random() < dark * 1.05 else _pick(rng, _IRISES[1:]),
        iris_size=float(rng.uniform(0.46, 0.54)),
        lashes=float(rng.uniform(0.2, 0.5)),
    )
