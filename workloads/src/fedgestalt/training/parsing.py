"""Reading the `training` section of a FederationRound: camelCase JSON to `TrainingConfig`, or one error."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .config import (
    Augmentation,
    BatchNorm,
    Classifier,
    InitialWeights,
    Loss,
    LossType,
    Member,
    Optimizer,
    OptimizerType,
    Resources,
    Schedule,
    ScheduleType,
    StrategyConfig,
    StrategyType,
    TrainingConfig,
)
from .fields import ConfigError, Fields

MAX_MEMBERS = 16
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def parse_training(value: Mapping[str, Any], path: str = "spec.training") -> TrainingConfig:
    """Read and validate a `training` section.

    Raises:
        ConfigError: with the path of the first field that cannot be used and how to mend it.
    """
    fields = Fields(value, path)
    members = tuple(_member(item, at) for at, item in fields.items("members", MAX_MEMBERS))
    names = [m.name for m in members]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ConfigError(f"{path}.members[{i}].name", f"{name!r} is used twice", "name each member once")
    rounds = fields.integer("communicationRounds", 10, 1, 1000)
    epochs = fields.integer("localEpochs", 5, 1, 1000)
    config = TrainingConfig(
        members=members,
        schedule=_schedule(fields.child("schedule"), rounds * epochs),
        communication_rounds=rounds,
        local_epochs=epochs,
        strategy=_strategy(fields.child("strategy")),
        classifier=fields.choice("classifier", Classifier, Classifier.SHARED),
        batch_norm=fields.choice("batchNorm", BatchNorm, BatchNorm.AVERAGE),
        resources=_resources(fields.child("resources")),
        augmentation=_augmentation(fields.child("augmentation")),
    )
    fields.finish()
    return config


def _member(value: object, path: str) -> Member:
    f = Fields(value, path)
    name = f.text("name")
    if not _NAME.fullmatch(name):
        raise ConfigError(f.at("name"), f"is {name!r}", "use a-z, 0-9 and '-', at most 32 characters")
    trainable = f.flag("trainable", True)
    member = Member(
        name=name,
        extractor=f.text("extractor"),
        initial_weights=_initial(f.raw("initialWeights"), f.at("initialWeights")),
        trainable=trainable,
        batch_size=f.integer("batchSize", 64, 2, 4096),
        max_steps=f.integer("maxSteps", 1000, 1, 1_000_000),
        optimizer=_optimizer(f.child("optimizer")),
        loss=_loss(f.child("loss")),
    )
    f.finish()
    if not trainable and member.initial_weights is None:
        raise ConfigError(f.at("initialWeights"), "is missing", "a frozen member needs weights to start from")
    return member


def _initial(value: object, path: str) -> InitialWeights | None:
    if value is None:
        return None
    f = Fields(value, path)
    name, digest = f.text("name"), f.raw("digest")
    f.finish()
    if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise ConfigError(f.at("digest"), "is not a digest", "write sha256: and 64 hexadecimal digits")
    return InitialWeights(name, digest)


def _optimizer(f: Fields) -> Optimizer:
    rate = f.number("learningRate", 5e-4, 1e-8, 1.0)
    optimizer = Optimizer(
        type=f.choice("type", OptimizerType, OptimizerType.ADAM),
        learning_rate=rate,
        head_learning_rate=f.number("headLearningRate", 1e-3, 1e-8, 1.0),
        weight_decay=f.number("weightDecay", 5e-5, 0.0, 0.5),
    )
    f.finish()
    return optimizer


def _loss(f: Fields) -> Loss:
    loss = Loss(
        type=f.choice("type", LossType, LossType.SOFTMAX),
        scale=f.number("scale", 20.0, 1.0, 256.0),
        margin=f.number("margin", 0.1, 0.0, 0.9),
    )
    f.finish()
    return loss


def _schedule(f: Fields, epochs: int) -> Schedule:
    schedule = Schedule(
        type=f.choice("type", ScheduleType, ScheduleType.CONSTANT),
        warmup_epochs=f.number("warmupEpochs", 0.0, 0.0, float(epochs)),
    )
    if schedule.type is ScheduleType.TRAPEZOID and f.raw("decayEpochs") is not None:
        left = epochs - schedule.warmup_epochs
        schedule = replace(schedule, decay_epochs=f.number("decayEpochs", 0.0, min(0.001, left), left))
    f.finish()
    return schedule


def _strategy(f: Fields) -> StrategyConfig:
    kind = f.choice("type", StrategyType, StrategyType.FEDAVG)
    default_rate = 0.01 if kind is StrategyType.FEDADAM else 1.0
    strategy = StrategyConfig(type=kind)
    match kind:
        case StrategyType.FEDPROX:
            strategy = StrategyConfig(type=kind, mu=f.number("mu", 0.01, 0.0, 100.0))
        case StrategyType.FEDAVGM:
            strategy = StrategyConfig(
                type=kind,
                learning_rate=f.number("learningRate", default_rate, 1e-6, 10.0),
                momentum=f.number("momentum", 0.9, 0.0, 0.999),
            )
        case StrategyType.FEDADAM:
            strategy = StrategyConfig(
                type=kind,
                learning_rate=f.number("learningRate", default_rate, 1e-6, 10.0),
                beta1=f.number("beta1", 0.9, 0.0, 0.999),
                beta2=f.number("beta2", 0.99, 0.0, 0.9999),
                tau=f.number("tau", 1e-3, 1e-9, 1.0),
            )
    f.finish()
    return strategy


def _resources(f: Fields) -> Resources:
    resources = Resources(
        workers=f.integer("workers", 0, 0, 64),
        threads=f.integer("threads", 1, 1, 256),
        gpus_per_worker=f.integer("gpusPerWorker", 0, 0, 8),
    )
    f.finish()
    return resources


def _augmentation(f: Fields) -> Augmentation:
    augmentation = Augmentation(
        flip=f.flag("flip", True),
        shift=f.integer("shift", 4, 0, 32),
        brightness=f.number("brightness", 0.2, 0.0, 1.0),
        noise=f.number("noise", 0.05, 0.0, 1.0),
    )
    f.finish()
    return augmentation
