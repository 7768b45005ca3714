"""Reading the training section: defaults, and errors that name the field and the fix."""

import pickle
from typing import Any

import pytest

from fedgestalt.training.config import (
    BatchNorm,
    Classifier,
    LossType,
    OptimizerType,
    ScheduleType,
    StrategyType,
)
from fedgestalt.training.exit_codes import ExitCode
from fedgestalt.training.fields import ConfigError
from fedgestalt.training.parsing import parse_training

from .toys import section


def test_defaults_are_the_published_settings() -> None:
    config = parse_training({"members": [{"name": "r50", "extractor": "iresnet50"}]})
    member = config.members[0]
    assert (config.communication_rounds, config.local_epochs, config.epochs) == (10, 5, 50)
    assert (member.optimizer.type, member.optimizer.learning_rate) == (OptimizerType.ADAM, 5e-4)
    assert (member.optimizer.head_learning_rate, member.batch_size) == (1e-3, 64)
    assert (config.classifier, config.batch_norm) == (Classifier.SHARED, BatchNorm.AVERAGE)
    assert (config.strategy.type, config.schedule.type) == (StrategyType.FEDAVG, ScheduleType.CONSTANT)
    assert member.loss.type is LossType.SOFTMAX
    assert config.resources.workers == 0


@pytest.mark.parametrize(
    ("changes", "path", "fix"),
    [
        ({"members": []}, "members", "1 to 16"),
        ({"members": [{"extractor": "sface"}]}, "members[0].name", "non-empty"),
        ({"members": [{"name": "A b", "extractor": "sface"}]}, "members[0].name", "a-z"),
        ({"communicationRounds": 0}, "communicationRounds", "from 1 to 1000"),
        ({"communicationRounds": True}, "communicationRounds", "whole number"),
        ({"localEpochs": 1.5}, "localEpochs", "whole number"),
        ({"strategy": {"type": "FedSGD"}}, "strategy.type", "FedAvg, FedProx"),
        ({"strategy": {"type": "FedAvg", "mu": 1.0}}, "strategy.mu", "remove it"),
        ({"strategy": {"type": "FedProx", "mu": -1}}, "strategy.mu", "from 0 to 100"),
        ({"strategy": {"type": "FedAdam", "beta2": 1.0}}, "strategy.beta2", "from 0"),
        ({"schedule": {"warmupEpochs": 9}}, "schedule.warmupEpochs", "from 0 to 2"),
        ({"schedule": {"type": "Cosine", "decayEpochs": 1}}, "schedule.decayEpochs", "remove it"),
        ({"schedule": {"type": "Trapezoid", "decayEpochs": 0}}, "schedule.decayEpochs", "from 0.001 to 2"),
        (
            {"schedule": {"type": "Trapezoid", "warmupEpochs": 1, "decayEpochs": 1.5}},
            "schedule.decayEpochs",
            "to 1",
        ),
        ({"classifier": "Private"}, "classifier", "Shared, Local, Fixed"),
        ({"batchNorm": "Sync"}, "batchNorm", "Average, Frozen"),
        ({"localEpoch": 3}, "localEpoch", "use one of"),
        ({"resources": {"workers": "2"}}, "resources.workers", "whole number"),
        ({"augmentation": {"noise": float("nan")}}, "augmentation.noise", "finite"),
        ({"schedule": [1]}, "schedule", "write an object"),
    ],
)
def test_an_error_names_the_field_and_the_fix(changes: dict[str, Any], path: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_training(section(**changes))
    assert caught.value.path == f"spec.training.{path}"
    assert path in str(caught.value)
    assert fix in caught.value.fix
    assert caught.value.exit_code is ExitCode.BAD_INPUT


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ({"batchSize": 1}, "batchSize"),
        ({"maxSteps": 0}, "maxSteps"),
        ({"optimizer": {"type": "SGD"}}, "optimizer.type"),
        ({"optimizer": {"learningRate": 2}}, "optimizer.learningRate"),
        ({"optimizer": {"beta1": 0.5}}, "optimizer.beta1"),
        ({"loss": {"margin": 1.0}}, "loss.margin"),
        ({"initialWeights": {"name": "x", "digest": "sha256:12"}}, "initialWeights.digest"),
        ({"trainable": False}, "initialWeights"),
        ({"trainable": "no"}, "trainable"),
    ],
)
def test_an_error_inside_a_member_names_its_place(member: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_training(section(member))
    assert caught.value.path == f"spec.training.members[0].{path}"


def test_a_member_s_name_is_used_once() -> None:
    twice = [{"name": "a", "extractor": "sface"}] * 2
    with pytest.raises(ConfigError, match=r"members\[1\]\.name: 'a' is used twice"):
        parse_training(section(members=twice))


def test_an_error_does_not_repeat_a_wrong_value_s_content() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_training(section({"name": ["a patient's name"]}))
    assert "patient" not in str(caught.value)


def test_errors_survive_pickling_as_ray_pickles_them() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("a.b", "is 3", "write 4")))
    assert (error.path, error.fix, str(error)) == ("a.b", "write 4", "a.b: is 3; write 4")
