from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fedgestalt.models.bundle import module_tensors
from fedgestalt.models.digest import model_hash
from fedgestalt.models.extractor import normalise
from fedgestalt.models.pretraining import EpochReport, PretrainingConfig, pretrain
from fedgestalt.models.registry import build_extractor


def _augment(images: np.ndarray, index: np.ndarray, rng: np.random.Generator) -> Tensor:
    return normalise(torch.from_numpy(images[index])).permute(0, 3, 1, 2)


def _data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two terms that show as a bright left or right half; four people, one for each combination."""
    rng = np.random.default_rng(0)
    people = np.arange(64) % 4
    severity = np.stack([people & 1, people >> 1, np.zeros(64)], axis=1).astype(np.float32)
    images = rng.integers(0, 100, (64, 112, 112, 3)).astype(np.uint8)
    images[people & 1 == 1, :, :56] += 150
    images[people >> 1 == 1, :, 56:] += 150
    return images, severity, people


@pytest.mark.parametrize("objective", ["terms", "identity", "both"])
def test_every_objective_learns_and_repeats_to_the_bit(objective: str) -> None:
    config = replace(PretrainingConfig(epochs=4, batch=16), objective=objective)
    hashes, losses = [], []
    for _ in range(2):
        torch.manual_seed(1)
        extractor = build_extractor("resnet_s16", embedding_dim=16, widths=(16, 16, 16, 16))
        reports: list[EpochReport] = []
        pretrain(extractor, *_data(), config, _augment, reports.append)
        assert [report.epoch for report in reports] == [1, 2, 3, 4]
        losses.append([report.loss for report in reports])
        hashes.append(model_hash(module_tensors(extractor)))
    assert losses[0][-1] < 0.7 * losses[0][0]
    assert hashes[0] == hashes[1]


def test_bad_settings_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="objective"):
        PretrainingConfig(objective="faces")  # type: ignore[arg-type]
    images, severity, people = _data()
    extractor = build_extractor("resnet_s16")
    with pytest.raises(ValueError, match="63 people"):
        pretrain(extractor, images, severity, people[1:], PretrainingConfig(), _augment, lambda _: None)
