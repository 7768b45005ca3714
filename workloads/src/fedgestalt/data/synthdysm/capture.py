"""One photo of a person: expression, pose, gaze, light and camera, all drawn anew."""

import numpy as np

from .assets import Floats
from .identity import Identity
from .params import Brows, Camera, Eyes, Light, Recipe
from .population import NEUTRAL, Population


def _expression(rng: np.random.Generator) -> dict[str, float]:
    smile, blink = max(0.0, float(rng.normal()) * 0.35), max(0.0, float(rng.normal()) * 0.08)
    out = {
        "au-mouthSmileLeft": smile,
        "au-mouthSmileRight": smile * float(rng.uniform(0.8, 1.1)),
        "au-cheekSquintLeft": smile * 0.4,
        "au-cheekSquintRight": smile * 0.4,
        "au-eyeBlinkLeft": blink,
        "au-eyeBlinkRight": blink,
    }
    if rng.random() < 0.2:
        out["au-jawOpen"] = float(rng.uniform(0.1, 0.3))
    if rng.random() < 0.2:
        out["au-browInnerUp"] = float(rng.random()) * 0.6
    return out


def _muted(rng: np.random.Generator) -> Floats:
    """A backdrop colour, mostly grey."""
    grey = float(rng.uniform(0.03, 0.8))
    return (grey + (rng.uniform(0.02, 0.9, 3) - grey) * 0.3).astype(np.float32)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.sqrt((vector**2).sum()), dtype=np.float32)


def _light(rng: np.random.Generator, population: Population) -> tuple[Light, float]:
    """The light and how bright a mid-tone appears in it."""
    azimuth = float(rng.normal()) * 0.8
    height = float(np.clip(rng.uniform(0.15, 1.0) + population.light_height, -0.1, 1.3))
    direction = np.array(
        [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)], np.float32
    )
    strength, warmth = float(rng.uniform(0.5, 1.5)), float(rng.normal()) * 0.10
    ambient = float(rng.uniform(0.35, 0.85))
    light = Light(
        key_direction=_unit(direction),
        key=(strength * np.array([1 + warmth, 1, 1 - warmth * 1.2])).astype(np.float32),
        fill_direction=_unit(np.array([-direction[0] + rng.normal() * 0.3, 0.1, 0.8], np.float32)),
        fill=np.full(3, rng.uniform(0.05, 0.35), np.float32),
        sky=(ambient * np.array([1 - 0.3 * warmth, 1, 1 + 0.3 * warmth])).astype(np.float32),
        ground=(ambient * 0.55 * np.array([1.05, 0.95, 0.88])).astype(np.float32),
        shadow=float(rng.uniform(0.2, 0.95)),
    )
    return light, strength * 0.55 + ambient * 0.8


def _camera(rng: np.random.Generator, population: Population, melanin: float, brightness: float) -> Camera:
    balance = float(rng.normal()) * 0.05 + population.white_balance
    # Photographers expose for the face: dark skin gets more light.
    exposure = (float(rng.uniform(0.75, 1.2)) + 0.28 * melanin) * 1.05 / brightness * population.exposure
    return Camera(
        yaw=float(rng.normal()) * 0.20,
        pitch=float(rng.normal()) * 0.10,
        roll=float(rng.normal()) * 0.06,
        distance=float(rng.uniform(7, 16)),
        field=float(rng.uniform(2.5, 3.2)),
        shift_x=float(rng.normal()) * 0.02,
        shift_y=float(rng.normal()) * 0.02 + 0.03,
        blur=float(max(0.0, rng.normal() * 0.35) + population.blur),
        white_balance=np.array([1 + balance, 1, 1 - balance], np.float32),
        exposure=exposure,
        noise=float(rng.uniform(0.003, 0.03)) * population.noise,
        saturation=float(rng.uniform(0.85, 1.1)),
        jpeg=int(rng.integers(population.jpeg[0], population.jpeg[1])),
        backdrop=np.stack([_muted(rng), _muted(rng)]),
        backdrop_angle=float(rng.uniform(0, 2 * np.pi)),
        cloth=rng.uniform(0.05, 0.9, 3).astype(np.float32) * np.float32(0.55) + np.float32(0.12),
        grey=bool(rng.random() < 0.03),
    )


def sample_photo(identity: Identity, rng: np.random.Generator, population: Population = NEUTRAL) -> Recipe:
    """Draw the circumstances of one photo of *identity*, without any syndrome."""
    macro, hair = identity.macro, identity.hair
    morphs = dict(identity.morphs)
    for name, amount in _expression(rng).items():
        morphs[name] = morphs.get(name, 0.0) + amount
    light, brightness = _light(rng, population)
    camera = _camera(rng, population, identity.skin.melanin, brightness)
    gaze = np.array(
        [rng.normal() * 0.10 - camera.yaw * 0.5, rng.normal() * 0.06 - camera.pitch * 0.3], dtype=np.float32
    )
    inner, outer, height, arch, thickness, density = identity.brow_shape
    return Recipe(
        macro=macro,
        morphs=morphs,
        skin=identity.skin,
        hair=hair,
        brows=Brows(
            rgb=identity.brow_rgb,
            inner=inner,
            outer=outer,
            height=height,
            arch=arch,
            drop=1.0,
            thickness=thickness,
            density=density,
            lateral_loss=0.0,
            synophrys=0.0,
        ),
        eyes=Eyes(
            rgb=np.stack([identity.iris_rgb] * 2),
            iris=identity.iris_size,
            pupil=float(rng.uniform(0.15, 0.24)),
            blue_sclera=0.5 if macro.age < 0.06 else 0.0,
            lashes=identity.lashes,
            gaze=np.stack([gaze, gaze]),
        ),
        light=light,
        camera=camera,
        noise_seed=int(rng.integers(1 << 31)),
    )
