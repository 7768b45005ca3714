"""Paint effects of HPO terms: brows, hair, skin, eyes. Each changes a recipe in place."""

from collections.abc import Callable, Mapping

import numpy as np

from .params import Recipe

Effect = Callable[[Recipe, float, float, np.random.Generator], None]
"""(recipe, amount at severity 1, severity, generator fixed per patient)."""


def _factor(amount: float, severity: float) -> float:
    return max(1 + (amount - 1) * min(severity, 1.2), 0.02)


def _strabismus(r: Recipe, amount: float, severity: float, rng: np.random.Generator) -> None:
    side, inward = int(rng.integers(2)), rng.random() < 0.6
    gaze = r.eyes.gaze.copy()
    gaze[side, 0] += amount * severity * (1 if side == 0 else -1) * (-1 if inward else 1)
    r.eyes = r.eyes._replace(gaze=gaze)


def _synophrys(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.brows = r.brows._replace(synophrys=max(r.brows.synophrys, amount * severity))


def _brow_thickness(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.brows = r.brows._replace(thickness=r.brows.thickness * _factor(amount, severity))


def _brow_density(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.brows = r.brows._replace(density=r.brows.density * _factor(amount, severity))


def _brow_arch(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.brows = r.brows._replace(
        arch=r.brows.arch + 0.9 * amount * severity, height=r.brows.height + 0.03 * severity
    )


def _brow_lateral_loss(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.brows = r.brows._replace(lateral_loss=amount * min(severity, 1.1))


def _lashes(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.eyes = r.eyes._replace(lashes=r.eyes.lashes * _factor(amount, severity))


def _blue_sclera(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.eyes = r.eyes._replace(blue_sclera=min(amount * severity, 1.2))


def _blue_iris(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.eyes = r.eyes._replace(rgb=np.tile(np.array([0.42, 0.56, 0.70], np.float32), (2, 1)))


def _hairline(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    # A fringe would hide the very thing that the term describes.
    r.hair = r.hair._replace(hairline=r.hair.hairline + amount * severity, fringe=0.0)


def _hair_density(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    factor = _factor(amount, severity)
    r.hair = r.hair._replace(
        density=r.hair.density * factor,
        length=r.hair.length * factor**0.5,
        fall=0.0,
        fringe=0.0,
    )
    if amount < 0.2:
        r.brows = r.brows._replace(density=r.brows.density * 0.5)


def _hirsutism(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.hair = r.hair._replace(beard=max(r.hair.beard, amount * severity))


def _freckles(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.skin = r.skin._replace(freckles=r.skin.freckles + amount * severity)


def _cafe_au_lait(r: Recipe, amount: float, severity: float, rng: np.random.Generator) -> None:
    count = int(amount)
    spots = np.stack(
        [
            rng.uniform(-0.9, 0.9, count),
            rng.uniform(-1.2, 1.0, count),
            rng.uniform(0.07, 0.2, count),
            np.full(count, 0.22 * severity),
        ],
        axis=1,
    )
    r.skin = r.skin._replace(spots=np.concatenate([r.skin.spots, spots.astype(np.float32)]))


def _melanin(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.skin = r.skin._replace(melanin=r.skin.melanin * _factor(amount, severity))


def _forelock(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
    r.hair = r.hair._replace(forelock=amount * min(severity, 1.1))


def _nevus(r: Recipe, amount: float, severity: float, rng: np.random.Generator) -> None:
    patch = [rng.uniform(-0.3, 0.3), 0.8, 0.35, 0.45, amount * severity * 0.8]
    r.skin = r.skin._replace(nevus=np.array(patch, np.float32))


def _hair_colour(rgb: tuple[float, float, float]) -> Effect:
    colour = np.array(rgb, np.float32)

    def effect(r: Recipe, amount: float, severity: float, _: np.random.Generator) -> None:
        r.hair = r.hair._replace(rgb=colour)
        r.brows = r.brows._replace(rgb=colour * np.float32(0.8))

    return effect


EFFECTS: Mapping[str, Effect] = {
    "strabismus": _strabismus,
    "synophrys": _synophrys,
    "brow_thickness": _brow_thickness,
    "brow_density": _brow_density,
    "brow_arch": _brow_arch,
    "brow_lateral_loss": _brow_lateral_loss,
    "lashes": _lashes,
    "blue_sclera": _blue_sclera,
    "blue_iris": _blue_iris,
    "hairline": _hairline,
    "hair_density": _hair_density,
    "hirsutism": _hirsutism,
    "freckles": _freckles,
    "cafe_au_lait": _cafe_au_lait,
    "melanin": _melanin,
    "forelock": _forelock,
    "nevus": _nevus,
    "fair_hair": _hair_colour((0.72, 0.58, 0.38)),
    "red_hair": _hair_colour((0.50, 0.22, 0.10)),
}
