"""The demonstration's recipe: which head a federation trains with, and which the arms that it is compared with."""

from typing import Any

from fedgestalt.local.demo import weights_digest
from fedgestalt.local.document import baseline_training, demo_round
from fedgestalt.training.baselines import for_pool
from fedgestalt.training.config import Classifier
from fedgestalt.training.loop import TrainingData
from fedgestalt.training.naming import is_head
from fedgestalt.training.parsing import parse_training
from fedgestalt_operator.kube.validate import validate

from .toys import photos, trainer


def training(*, non_overlapping: bool) -> dict[str, Any]:
    document = demo_round(
        name="recipe",
        silos=("east", "north", "south", "west"),
        vocabulary_digest=f"sha256:{'0' * 64}",
        weights_digest=weights_digest,
        non_overlapping=non_overlapping,
    )
    section: dict[str, Any] = validate(document, source="recipe")["spec"]["training"]
    return section


def test_no_head_travels_where_a_syndrome_has_one_hospital() -> None:
    config = parse_training(training(non_overlapping=True))
    assert not any(map(is_head, trainer(config, photos(32)).names))


def test_silos_without_a_common_syndrome_train_towards_the_same_class_vectors() -> None:
    config, classes = parse_training(training(non_overlapping=True)), ("a", "b", "c", "d")
    data = photos(32)
    east, west = (
        trainer(config, TrainingData(data.images, data.labels + first, classes)).module.head.weight
        for first in (0, 2)
    )
    assert east.shape[0] == len(classes)
    assert east.equal(west)


def test_arms_without_a_federation_learn_their_head_as_ever() -> None:
    """Over a whole run a learnt head is better there than a fixed one: see docs/decisions/015."""
    shared = training(non_overlapping=False)
    baseline = baseline_training(training(non_overlapping=True))
    cosine = {"type": "Cosine", "warmupEpochs": 1}
    assert baseline == {**shared, "classifier": "Local", "schedule": cosine}
    assert baseline_training(shared) == {**shared, "schedule": cosine}
    pool = for_pool(parse_training(baseline), [photos(32)] * 4, batch_size=32)
    assert pool.classifier is Classifier.SHARED
