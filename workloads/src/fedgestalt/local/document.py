"""The FederationRound document of the demo: what a coordinator would `kubectl apply`, filled in for this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

DATASET: Final = "synthdysm"

# The recipe of the demo. docs/explanation/recipe.md says how it was found.
LEARNING: Final[Mapping[str, Any]] = {
    "communicationRounds": 12,
    "localEpochs": 1,
    "batchSize": 16,
    "maxSteps": 80,
    "learningRate": 1e-3,
    "headLearningRate": 4e-3,
    "weightDecay": 5e-4,
    "scale": 20.0,
    "margin": 0.1,
}


def demo_round(
    *,
    name: str,
    silos: Sequence[str],
    vocabulary_digest: str,
    members: Sequence[Mapping[str, Any]],
    non_overlapping: bool,
    communication_rounds: int | None = None,
    workers: int = 0,
    threads: int = 1,
    bootstrap_seed: int = 0,
) -> dict[str, Any]:
    """A Train round over ``silos``.

    ``members`` are entries of ``spec.training.members`` (the starting weights carry digests). Labels that do not overlap
    get local heads: a class row that only one silo touches would stand in the sum as that silo's own.
    """
    return {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "FederationRound",
        "metadata": {"name": name},
        "spec": {
            "operation": "Train",
            "silos": sorted(silos),
            "purpose": "DUO:0000006",
            "dataset": DATASET,
            "vocabulary": {"name": "synthdysm", "digest": vocabulary_digest},
            "training": {
                "members": [dict(member) for member in members],
                "schedule": {"type": "Cosine", "warmupEpochs": 1},
                "communicationRounds": communication_rounds or LEARNING["communicationRounds"],
                "localEpochs": LEARNING["localEpochs"],
                "strategy": {"type": "FedAvg"},
                "classifier": "Local" if non_overlapping else "Shared",
                "batchNorm": "Average",
                "resources": {"workers": workers, "threads": threads},
            },
            "evaluation": {"bootstrapReplicates": 200, "seed": bootstrap_seed},
            "quorum": {"minSilos": 3, "stragglerTimeout": 120},
            "deadlines": {"start": 600, "active": 86400},
        },
    }
