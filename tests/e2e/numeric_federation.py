"""Cohorts of text and a round over small vectors: a whole federation that ends within seconds."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fedgestalt.data.federation import vocabulary_bytes
from fedgestalt.local.federation import LocalFederation
from fedgestalt_operator.kube.validate import validate

TRAINER = Path(__file__).with_name("numeric_trainer.py")
TRAINED = [f"SYN:F{i:03d}" for i in range(1, 6)]
RARE = [f"SYN:R{i:03d}" for i in range(1, 4)]
VOCABULARY = vocabulary_bytes(set(TRAINED), set(RARE))


def write_cohort(folder: Path, silo: str, seed: int) -> None:
    """A manifest without photos: the numeric trainer needs none."""
    choice = np.random.default_rng([seed, *silo.encode()])
    lines = ["image,patient,syndrome,role,test_splits"]
    for syndrome in TRAINED:
        for k in range(int(choice.integers(4, 8))):
            role = "test" if k == 0 else "train"
            lines.append(f"{silo}-{syndrome[-4:]}-{k}.jpg,{silo}-{syndrome}-{k},{syndrome},{role},")
    for syndrome in RARE:
        for k in range(2):
            splits = " ".join(str(s) for s in range(1, 11) if s % 2 == k)
            lines.append(f"{silo}-{syndrome[-4:]}-{k}.jpg,{silo}-{syndrome}-{k},{syndrome},rotating,{splits}")
    folder.mkdir(parents=True)
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def document(silos: list[str], *, members: int = 1, rounds: int = 3, **spec: Any) -> dict[str, Any]:
    training = {
        "members": [{"name": f"m{i}", "extractor": "numbers", "maxSteps": 10} for i in range(members)],
        "communicationRounds": rounds,
        "localEpochs": 1,
    }
    return validate(
        {
            "apiVersion": "fedgestalt.org/v1alpha1",
            "kind": "FederationRound",
            "metadata": {"name": "numbers"},
            "spec": {
                "operation": "Train",
                "silos": silos,
                "purpose": "DUO:0000006",
                "dataset": "numbers",
                "vocabulary": {
                    "name": "numbers",
                    "digest": f"sha256:{hashlib.sha256(VOCABULARY).hexdigest()}",
                },
                "training": training,
                "evaluation": {"bootstrapReplicates": 20},
                "quorum": {"minSilos": 3, "stragglerTimeout": 20},
                "deadlines": {"start": 120, "active": 600},
                **spec,
            },
        }
    )


def federation(folder: Path, silos: list[str], *, seed: int = 1, **changes: Any) -> LocalFederation:
    cohorts = {name: folder / "cohorts" / name for name in silos}
    for name, path in cohorts.items():
        if not path.exists():
            write_cohort(path, name, seed)
    return LocalFederation(
        document(silos, **changes),
        workdir=folder / "federation",
        cohorts=cohorts,
        vocabulary=VOCABULARY,
        seed=seed,
        workload=[sys.executable, str(TRAINER)],
    )


SILOS = ["east", "north", "south", "west"]


def rounds_on(
    folder: Path, name: str, operation: str, base: str, silos: list[str], *, seed: int = 1
) -> LocalFederation:
    """A later round of the federation in ``folder``, on a release."""
    made = document(silos)
    spec = made["spec"]
    spec["operation"], spec["base"] = operation, {"release": "numbers", "digest": f"sha256:{base}"}
    if operation != "Train":
        del spec["training"], spec["vocabulary"]
    cohorts = {silo: folder / "cohorts" / silo for silo in silos}
    for silo, path in cohorts.items():
        if not path.exists():
            write_cohort(path, silo, seed)
    return LocalFederation(
        validate({**made, "metadata": {"name": name}}),
        workdir=folder / "federation",
        cohorts=cohorts,
        vocabulary=VOCABULARY,
        seed=seed,
        workload=[sys.executable, str(TRAINER)],
    )


def final_models(manifest: dict[str, Any]) -> dict[str, str]:
    return {m["name"]: m["model"] for m in manifest["members"] if m["trainable"]}


def load(path: Path) -> Any:
    return json.loads(path.read_text())
