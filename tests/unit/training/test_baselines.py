"""The arms of the comparison, and plain federated averaging as the reference of secure aggregation."""

import dataclasses

import numpy as np
import pytest

from fedgestalt.training.baselines import for_pool, pooled, simulate_fedavg, train_alone
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


@pytest.mark.parametrize(("cap", "seen"), [(1, 3 * 2), (100, 2 * 4 + 2 * 4 + 2 * 4)])
def test_a_pool_sees_as_many_photos_as_the_silos_together(cap: int, seen: int) -> None:
    """Three silos of 8 photos in batches of 2: capped to one step each, or their whole epoch of 4 steps."""
    settings = config({"batchSize": 2, "maxSteps": cap}, localEpochs=1)
    pool = for_pool(settings, [photos(8, seed=s) for s in range(3)], batch_size=2)
    assert [(m.batch_size, m.max_steps) for m in pool.trainable] == [(2, seen // 2)]


def test_pooling_joins_photos_of_the_same_classes_only() -> None:
    all_ = pooled([photos(4), photos(6, seed=1)])
    assert len(all_.images) == len(all_.labels) == 10
    other = dataclasses.replace(photos(), classes=("SYN:0", "SYN:9"))
    assert isinstance(other, TrainingData)
    with pytest.raises(ValueError, match="vocabulary"):
        pooled([photos(), other])


@pytest.mark.parametrize(
    ("federated", "pools"), [("Local", "Shared"), ("Shared", "Shared"), ("Fixed", "Fixed")]
)
def test_a_pool_has_nobody_to_keep_a_head_from_but_the_same_recipe(federated: str, pools: str) -> None:
    pool = for_pool(config(classifier=federated), [photos()], batch_size=4)
    assert pool.classifier is Classifier(pools)
