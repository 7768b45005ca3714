"""Batches of augmented photos: one gather picks, shifts and mirrors; brightness and noise follow in place."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import Augmentation


def make_batch(
    images: NDArray[np.uint8], index: NDArray[np.intp], augmentation: Augmentation, rng: np.random.Generator
) -> Tensor:
    """The photos `images[index]`, augmented and normalised to (x / 255 - 0.5) / 0.5.

    Args:
        images: aligned faces, uint8 [N, H, W, 3] RGB.
        index: which photos, integers [B].
        augmentation: strengths; edges repeat where a shift uncovers them.
        rng: the only source of randomness.

    Returns:
        float32 [B, 3, H, W] in channels-last memory.
    """
    count, (height, width) = len(index), images.shape[1:3]
    shift = augmentation.shift
    rows = _axis(height, rng.integers(-shift, shift + 1, count))
    columns = _axis(width, rng.integers(-shift, shift + 1, count))
    if augmentation.flip:
        mirrored = rng.random(count) < 0.5
        columns[mirrored] = columns[mirrored, ::-1]
    picked = images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    batch = torch.from_numpy(picked).to(torch.float32)
    strength = augmentation.brightness
    gain = rng.uniform(1.0 - strength, 1.0 + strength, (count, 1, 1, 1)) / 127.5
    offset = rng.uniform(-0.5 * strength, 0.5 * strength, (count, 1, 1, 1)) - 127.5 * gain
    batch.mul_(torch.from_numpy(gain.astype(np.float32))).add_(torch.from_numpy(offset.astype(np.float32)))
    if augmentation.noise > 0:
        batch.add_(_noise(batch.shape, augmentation.noise, rng))
    return batch.permute(0, 3, 1, 2)


def _axis(size: int, shifts: NDArray[np.int64]) -> NDArray[np.int64]:
    shifted: NDArray[np.int64] = np.clip(np.arange(size) + shifts[:, None], 0, size - 1)
    return shifted


def _noise(shape: torch.Size, deviation: float, rng: np.random.Generator) -> Tensor:
    """Noise of the given standard deviation. Uniform bytes: ten times cheaper than Gaussian numbers."""
    raw = np.frombuffer(rng.bytes(shape.numel()), dtype=np.uint8).reshape(shape)
    scale = deviation * 12**0.5 / 256
    return torch.from_numpy(raw.astype(np.float32)).sub_(127.5).mul_(scale)
