"""What `fedgestalt run` says of input that it cannot use, before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from fedgestalt.cli.main import main

SHA = "sha256:" + "0" * 64


def run(folder: Path, operation: str, *arguments: str | Path, **spec: Any) -> Result:
    silos = ["east", "north", "south", "west"]
    for silo in silos:
        (folder / "cohorts" / silo).mkdir(parents=True, exist_ok=True)
    document = {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "FederationRound",
        "metadata": {"name": "later"},
        "spec": {
            "operation": operation,
            "silos": silos,
            "purpose": "DUO:0000006",
            "dataset": "synthdysm",
            "quorum": {"minSilos": 3},
            "base": {"release": "first", "digest": SHA},
            **spec,
        },
    }
    (folder / "round.yaml").write_text(yaml.safe_dump(document))
    where = ["--workdir", folder / "work", "--cohorts", folder / "cohorts"]
    return CliRunner().invoke(main, ["run", str(folder / "round.yaml"), *map(str, (*where, *arguments))])


@pytest.mark.parametrize("operation", ["Adopt", "Rotate"])
def test_a_vocabulary_that_a_round_on_a_release_would_not_speak_is_refused(
    tmp_path: Path, operation: str
) -> None:
    (tmp_path / "other.json").write_text('{"trained": [], "rare": []}')
    done = run(tmp_path, operation, "--vocabulary", tmp_path / "other.json")
    assert done.exit_code == 1
    assert "speaks of the syndromes of that release. Leave --vocabulary out" in done.output
    assert not (tmp_path / "work").exists()
    without = run(tmp_path, operation)
    assert "Is spec.base.digest a release of" in without.output


def test_a_training_on_a_release_takes_the_vocabulary_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"trained": [], "rare": []}')
    training = {
        "members": [{"name": "m0", "extractor": "resnet_s16", "maxSteps": 1}],
        "communicationRounds": 1,
    }
    vocabulary = {"name": "synthdysm", "digest": SHA}
    done = run(
        tmp_path,
        "Train",
        "--vocabulary",
        tmp_path / "other.json",
        training=training | {"localEpochs": 1},
        vocabulary=vocabulary,
    )
    assert done.exit_code == 1
    assert "spec.vocabulary.digest:" in done.output
    assert "other.json has sha256:" in done.output
