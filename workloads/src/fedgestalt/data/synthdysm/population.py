"""Where a hospital's patients and photos come from: ancestry, age, and the habits of its camera."""

from dataclasses import dataclass

import numpy as np

_AGE_BANDS = ((0.0, 0.06), (0.06, 0.19), (0.19, 0.45), (0.45, 0.95))


@dataclass(frozen=True)
class Population:
    """Distributions that differ between hospitals; the default is the pooled population.

    Attributes:
        ancestry: Dirichlet mean of African, Asian and European ancestry; their sum is the concentration.
        ages: probabilities of infants, children, adolescents and adults (paediatric skew: an assumption).
        white_balance: mean red-blue shift of the camera.
        exposure: factor on exposure.
        jpeg: lowest and highest JPEG quality.
        blur: added standard deviation of the lens blur, pixels at a width of 160.
        light_height: added elevation of the key light, radians.
        noise: factor on sensor noise.
    """

    ancestry: tuple[float, float, float] = (0.45, 0.45, 0.45)
    ages: tuple[float, float, float, float] = (0.18, 0.34, 0.28, 0.20)
    white_balance: float = 0.0
    exposure: float = 1.0
    jpeg: tuple[int, int] = (60, 97)
    blur: float = 0.0
    light_height: float = 0.0
    noise: float = 1.0

    def draw_ancestry(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Weights of African, Asian and European ancestry, sum 1."""
        african, asian, european = (float(v) for v in rng.dirichlet(self.ancestry))
        return african, asian, european

    def draw_age(self, rng: np.random.Generator) -> float:
        """Age on the morph axis: 0 newborn, .1875 child, .5 young adult, 1 old."""
        low, high = _AGE_BANDS[int(rng.choice(len(_AGE_BANDS), p=self.ages))]
        return float(rng.uniform(low, high))


NEUTRAL = Population()


def shifted(silo: int, seed: int, strength: float) -> Population:
    """The population of one silo.

    Args:
        silo: its number; every silo draws its own shift.
        seed: of the federation.
        strength: 0 gives `NEUTRAL`, 1 a clear difference (the default of federations is milder).

    Raises:
        ValueError: strength outside [0, 2].
    """
    if not 0 <= strength <= 2:
        raise ValueError(f"feature shift strength must lie in [0, 2], not {strength}")
    if strength == 0:
        return NEUTRAL
    rng = np.random.default_rng([seed, silo, 0x5117])
    mean = rng.dirichlet((1.0, 1.0, 1.0))
    mix = min(strength, 1.0) * 0.6
    ancestry = 1.35 * ((1 - mix) / 3 + mix * mean)
    ages = np.array(NEUTRAL.ages) * np.exp(strength * 0.5 * rng.normal(size=4))
    ages /= ages.sum()
    worst = int(np.clip(60 - 20 * strength * rng.random(), 30, 60))
    return Population(
        ancestry=(float(ancestry[0]), float(ancestry[1]), float(ancestry[2])),
        ages=(float(ages[0]), float(ages[1]), float(ages[2]), float(ages[3])),
        white_balance=float(strength * 0.06 * rng.normal()),
        exposure=float(np.exp(strength * 0.15 * rng.normal())),
        jpeg=(worst, 97),
        blur=float(strength * 0.35 * rng.random()),
        light_height=float(strength * 0.25 * rng.normal()),
        noise=float(np.exp(strength * 0.4 * rng.normal())),
    )
