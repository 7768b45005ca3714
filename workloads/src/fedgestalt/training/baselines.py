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
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Tensors:
    """Train every trainable member on one pool of photos for the round's epochs: centralised, or one silo alone.

    Args:
        config: the round's training section; communicationRounds x localEpochs epochs are trained.
        data: the pool.
        seed: of shuffling and augmentation.
        arm: names the pool in the seeds, so that two silos do not draw alike.
        batch_size: instead of the members' own.
        progress: called with the member and the fraction done.
    """
    result: Tensors = {}
    # Nobody averages here, so there is no global model to be pulled towards (FedProx) either.
    config = replace(config, strategy=StrategyConfig())
    for member in config.trainable:
        chosen = replace(member, batch_size=batch_size) if batch_size else member
        # maxSteps caps what a silo does between two aggregations; a pool with all photos takes as many steps as it has.
        chosen = replace(chosen, max_steps=max(chosen.max_steps, config.local_epochs * len(data.labels)))
        trainer = MemberTrainer(config, chosen, data, _public(seed), _seeds(seed, arm, member.name))
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


def with_shared_head(config: TrainingConfig) -> TrainingConfig:
    """The configuration for one pool: there is nobody from whom a head would have to stay local."""
    return replace(config, classifier=Classifier.SHARED)


def _public(seed: int) -> bytes:
    return hashlib.sha256(f"fedgestalt baseline start {seed}".encode()).digest()


def _seeds(seed: int, arm: str, member: str) -> Callable[[int], bytes]:
    secret = hashlib.sha256(f"fedgestalt baseline {seed} {arm}".encode()).digest()
    return lambda t: round_seed(secret, b"baseline", member, t)
