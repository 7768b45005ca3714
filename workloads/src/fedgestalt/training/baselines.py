"""The arms that a federation is compared with, by the same steps, epochs, augmentation and schedule.

Nothing is selected in any arm: the last model counts. Seeds are public here, for these arms exist only where all photos
lie on one machine anyway.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from .config import Classifier, StrategyConfig, TrainingConfig
from .loop import MemberTrainer, TrainingData
from .module import Float32, Float64, difference
from .seeds import round_seed
from .strategies import build_strategy

Progress = Callable[[str, float], None]
Tensors = dict[str, dict[str, Float32]]
"""Global tensors of each trained member by its name."""


def train_alone(
    config: TrainingConfig,
    data: TrainingData,
    *,
    seed: int,
    arm: str,
    progress: Progress | None = None,
) -> Tensors:
    """Train every trainable member on one pool of photos for the round's length: centralised, or one silo alone.

    Args:
        config: the round's training section, see :func:`for_pool` where the pool is everybody's.
        data: the pool.
        seed: of shuffling and augmentation.
        arm: names the pool in the seeds, so that two silos do not draw alike.
        progress: called with the member and the fraction done.
    """
    result: Tensors = {}
    # Nobody averages here, so there is no global model to be pulled towards (FedProx) either.
    config = replace(config, strategy=StrategyConfig())
    for member in config.trainable:
        trainer = MemberTrainer(config, member, data, _public(seed), _seeds(seed, arm, member.name))
        for t in range(1, config.communication_rounds + 1):
            trainer.train(t)
            if progress is not None:
                progress(member.name, t / config.communication_rounds)
        result[member.name] = trainer.export()
    return result


def simulate_fedavg(
    config: TrainingConfig,
    silos: Mapping[str, TrainingData],
    *,
    seed: int,
    weights: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> Tensors:
    """The federation's arithmetic in one process, without masks: for tuning, and as the reference of tests.

    Args:
        silos: each hospital's photos.
        weights: public weights; by default the numbers of photos.
    """
    result: Tensors = {}
    strategy = build_strategy(config.strategy)
    shares = weights or {name: len(data.labels) for name, data in silos.items()}
    total = sum(shares.values())
    for member in config.trainable:
        trainers = {
            name: MemberTrainer(config, member, data, _public(seed), _seeds(seed, name, member.name))
            for name, data in sorted(silos.items())
        }
        model = next(iter(trainers.values())).export()
        state: Mapping[str, Float64] = {}
        for t in range(1, config.communication_rounds + 1):
            mean: dict[str, Float64] = {name: np.zeros(tensor.shape) for name, tensor in model.items()}
            for silo, trainer in trainers.items():
                trainer.load(model)
                trainer.train(t)
                for name, delta in difference(trainer.export(), model).items():
                    mean[name] += delta * (shares[silo] / total)
            model, state = strategy.step(model, mean, state)
            if progress is not None:
                progress(member.name, t / config.communication_rounds)
        result[member.name] = model
    return result


def pooled(silos: Sequence[TrainingData]) -> TrainingData:
    """All photos of several silos as one pool.

    Raises:
        ValueError: the silos' classes differ.
    """
    if len({data.classes for data in silos}) != 1:
        raise ValueError("the silos' classes differ: give them all the round's vocabulary")
    images = np.concatenate([data.images for data in silos])
    labels = np.concatenate([data.labels for data in silos])
    return TrainingData(images, labels, silos[0].classes)


def for_pool(config: TrainingConfig, silos: Sequence[TrainingData], *, batch_size: int) -> TrainingConfig:
    """The configuration that trains one pool of all photos on as many photos as the silos see together.

    A Local head becomes one over all classes, for there is nobody from whom it would have to stay local; a Fixed one stays fixed,
    as a part of the recipe. maxSteps caps what a silo does between
    two aggregations; the pool is capped where the silos together are, no earlier and no later.

    Args:
        config: the round's training section.
        silos: what each silo trains on.
        batch_size: of the pool.
    """
    members = []
    for member in config.members:
        seen = 0
        for data in silos:
            per_epoch = max(1, len(data.labels) // member.batch_size)
            seen += member.batch_size * min(config.local_epochs * per_epoch, member.max_steps)
        steps = max(1, round(seen / batch_size))
        members.append(replace(member, batch_size=batch_size, max_steps=steps))
    classifier = Classifier.FIXED if config.classifier is Classifier.FIXED else Classifier.SHARED
    return replace(config, classifier=classifier, members=tuple(members))


def _public(seed: int) -> bytes:
    return hashlib.sha256(f"fedgestalt baseline start {seed}".encode()).digest()


def _seeds(seed: int, arm: str, member: str) -> Callable[[int], bytes]:
    secret = hashlib.sha256(f"fedgestalt baseline {seed} {arm}".encode()).digest()
    return lambda t: round_seed(secret, b"baseline", member, t)
