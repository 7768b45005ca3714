"""Configurations and a few photos that a small network can tell apart."""

from typing import Any

import numpy as np

from fedgestalt.training.config import TrainingConfig
from fedgestalt.training.loop import MemberTrainer, TrainingData
from fedgestalt.training.parsing import parse_training
from fedgestalt.training.seeds import round_seed

PUBLIC = b"p" * 32
SECRET = b"s" * 32
ROSTER = b"r" * 32


def section(member: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A training section as JSON: two communication rounds of one epoch of the small network."""
    usual = {"name": "small", "extractor": "resnet_s16", "batchSize": 4, **(member or {})}
    return {"members": [usual], "communicationRounds": 2, "localEpochs": 1, **changes}


def config(member: dict[str, Any] | None = None, **changes: Any) -> TrainingConfig:
    return parse_training(section(member, **changes))


def photos(count: int = 8, classes: int = 2, seed: int = 0) -> TrainingData:
    """Grey noise with a bright bar whose height depends on the class: uint8 [count, 112, 112, 3]."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 130, (count, 112, 112, 3)).astype(np.uint8)
    labels = np.arange(count, dtype=np.int64) % classes
    for image, label in zip(images, labels, strict=True):
        top = 10 + 90 * int(label) // classes
        image[top : top + 25] = 220
    return TrainingData(images, labels, tuple(f"SYN:{i}" for i in range(classes)))


def trainer(settings: TrainingConfig, data: TrainingData, secret: bytes = SECRET) -> MemberTrainer:
    member = settings.trainable[0]
    return MemberTrainer(settings, member, data, PUBLIC, lambda t: round_seed(secret, ROSTER, member.name, t))
