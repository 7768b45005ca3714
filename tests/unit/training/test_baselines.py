"""The arms of the comparison, and plain federated averaging as the reference of secure aggregation."""

import dataclasses

import numpy as np
import pytest

from fedgestalt.training.baselines import pooled, simulate_fedavg, train_alone, with_shared_head
from fedgestalt.training.config import Classifier
from fedgestalt.training.loop import TrainingData

from .toys import config, photos


def test_a_federation_of_one_silo_is_local_training() -> None:
    settings = config(localEpochs=2)
    federated = simulate_fedavg(settings, {"east": photos()}, seed=1)
    alone = train_alone(settings, photos(), seed=1, arm="east")
    assert federated.keys() == alone.keys() == {"small"}
    for name, tensor in alone["small"].items():
        assert federated["small"][name].tobytes() == tensor.tobytes(), name


def test_equal_silos_average_by_their_weights() -> None:
    """Weight 0 takes a silo's say away; the other one's model is what remains."""
    settings = config(communicationRounds=1)
    both = {"east": photos(seed=1), "west": photos(seed=2)}
    mean = simulate_fedavg(settings, both, seed=0)["small"]
    east = simulate_fedavg(settings, both, seed=0, weights={"east": 1, "west": 0})["small"]
    west = simulate_fedavg(settings, both, seed=0, weights={"east": 0, "west": 1})["small"]
    for name in mean:
        expected = (east[name].astype(np.float64) + west[name]) / 2
        np.testing.assert_allclose(mean[name], expected, rtol=1e-5, atol=1e-7)


def test_photos_weigh_a_silo_by_their_number() -> None:
    settings = config(communicationRounds=1)
    silos = {"east": photos(8, seed=1), "west": photos(4, seed=2)}
    told = simulate_fedavg(settings, silos, seed=0, weights={"east": 8, "west": 4})["small"]
    counted = simulate_fedavg(settings, silos, seed=0)["small"]
    assert all(told[name].tobytes() == counted[name].tobytes() for name in told)


def test_every_communication_round_reports_progress() -> None:
    told: list[tuple[str, float]] = []
    train_alone(config(), photos(), seed=0, arm="a", progress=lambda name, part: told.append((name, part)))
    assert told == [("small", 0.5), ("small", 1.0)]


def test_two_arms_draw_differently() -> None:
    one = train_alone(config(), photos(), seed=0, arm="east")["small"]
    two = train_alone(config(), photos(), seed=0, arm="west")["small"]
    assert any(one[name].tobytes() != two[name].tobytes() for name in one)


def test_a_pool_is_not_cut_by_the_step_cap_of_a_silo() -> None:
    capped = config({"maxSteps": 1})
    free = config()
    one = train_alone(capped, photos(), seed=0, arm="pool")["small"]
    two = train_alone(free, photos(), seed=0, arm="pool")["small"]
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_pooling_joins_photos_of_the_same_classes_only() -> None:
    all_ = pooled([photos(4), photos(6, seed=1)])
    assert len(all_.images) == len(all_.labels) == 10
    other = dataclasses.replace(photos(), classes=("SYN:0", "SYN:9"))
    assert isinstance(other, TrainingData)
    with pytest.raises(ValueError, match="vocabulary"):
        pooled([photos(), other])


def test_a_pool_has_nobody_to_keep_a_head_from() -> None:
    assert with_shared_head(config(classifier="Local")).classifier is Classifier.SHARED
