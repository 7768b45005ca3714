"""The FederationRound document of the demonstration: what a coordinator would `kubectl apply`, filled in for this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

DATASET: Final = "synthdysm"
START: Final = "resnet_s16-faces"
ROUNDS: Final = 36
STRATEGY: Final[dict[str, Any]] = {"type": "FedAvgM", "learningRate": 1.0, "momentum": 0.5}
LEARNT_HEAD: Final = {"learningRate": 0.004, "headLearningRate": 0.016}
"""Rates where the head is trained too."""
FIXED_HEAD: Final = {"learningRate": 0.008}
"""Rates where the extractor alone moves."""
FEDERATED_SCHEDULE: Final = {"type": "Trapezoid", "warmupEpochs": 1}
BASELINE_SCHEDULE: Final = {"type": "Cosine", "warmupEpochs": 1}


def demo_round(
    *,
    name: str,
    silos: Sequence[str],
    vocabulary_digest: str,
    weights_digest: Callable[[str], str],
    non_overlapping: bool,
    tiny: bool = False,
    workers: int = 0,
    bootstrap_seed: int = 0,
    strategy: str = "",
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """A Train round over ``silos``: one trainable small network, and the same network as pretrained, frozen, beside it.

    Labels that do not overlap get a fixed head: a class row that only one silo touches would stand in the sum as that
    silo's own, and with heads of their own the hospitals pull the extractor apart. ``maxSteps`` cuts a communication
    round to half an epoch of a hospital with a quarter of tier demo's photos: averaging twice an epoch keeps more than
    averaging once, and four times no more.

    Args:
        weights_digest: gives the digest of shipped weights by name.
        tiny: two communication rounds, enough to exercise everything.
        rounds: communication rounds of the other tiers.
        strategy: another server step than the demonstration's, with its defaults.
    """
    classifier, rates = ("Fixed", FIXED_HEAD) if non_overlapping else ("Shared", LEARNT_HEAD)
    trainable = {
        "name": "s16",
        "extractor": "resnet_s16",
        "initialWeights": {"name": START, "digest": weights_digest(START)},
        "batchSize": 16,
        "maxSteps": 16,
        "optimizer": {"type": "AdamW", **rates, "weightDecay": 0.0005},
        "loss": {"type": "CosFace", "scale": 20, "margin": 0.3},
    }
    frozen = {
        "name": "frozen",
        "extractor": "resnet_s16",
        "initialWeights": {"name": START, "digest": weights_digest(START)},
        "trainable": False,
    }
    return {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "FederationRound",
        "metadata": {"name": name},
        "spec": {
            "operation": "Train",
            "silos": sorted(silos),
            "purpose": "DUO:0000006",
            "dataset": DATASET,
            "vocabulary": {"name": DATASET, "digest": vocabulary_digest},
            "training": {
                "members": [trainable, frozen],
                "schedule": dict(FEDERATED_SCHEDULE),
                "communicationRounds": 2 if tiny else rounds,
                "localEpochs": 1,
                "strategy": {"type": strategy} if strategy else dict(STRATEGY),
                "classifier": classifier,
                "batchNorm": "Average",
                "resources": {"workers": workers, "threads": 1},
            },
            "evaluation": {"bootstrapReplicates": 200, "seed": bootstrap_seed},
            "quorum": {"minSilos": 3, "stragglerTimeout": 300},
            "deadlines": {"start": 600, "active": 86400},
        },
    }


def baseline_training(training: Mapping[str, Any]) -> Mapping[str, Any]:
    """The training section of the arms without a federation: the round's own, but for head and schedule.

    What a fixed head is good for, agreement between silos, has no meaning there, and over a whole run a learnt one is the better
    of the two (decision 015). The schedule is the one that the arms had before the federation got another; which of the two
    serves them better depends on the seed, and decision 018 says what is kept of either.

    Args:
        training: a demonstration's, with all defaults filled in.
    """
    training = {**training, "schedule": dict(BASELINE_SCHEDULE)}
    if training["classifier"] != "Fixed":
        return training
    members = [
        {**member, "optimizer": {**member["optimizer"], **LEARNT_HEAD}} if member["trainable"] else member
        for member in training["members"]
    ]
    return {**training, "classifier": "Local", "members": members}
