"""The workload commands end with the documented exit codes and say what to mend."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedgestalt.training.config import Resources
from fedgestalt.training.encoding import encode
from fedgestalt.training.endpoint import TrainerEndpoint
from fedgestalt.training.entry import main
from fedgestalt.training.errors import CheckpointError, DataError, TrainingError, WeightsError
from fedgestalt.training.exit_codes import RETRYABLE, ExitCode
from fedgestalt.training.group import Group
from fedgestalt.training.photos import CohortFaces
from fedgestalt.training.ray_loop import _per_worker, train_members
from fedgestalt.training.task import TaskError, load_task

from .agents import Federation, Recorder
from .toys import photos, section

Write = Callable[..., Path]
FACES = Path(__file__).parents[1] / "faces" / "data"


@pytest.fixture
def write_task(tmp_path: Path, socket_path: Path) -> Write:
    """Writes a task file; keyword arguments replace its fields."""

    def write(**changes: Any) -> Path:
        (tmp_path / "seed").write_bytes(bytes(32))
        task = {
            "training": section({"batchSize": 2}),
            "cohort": str(tmp_path / "cohort"),
            "vocabulary": {"trained": ["OMIM:2", "OMIM:1"], "rare": []},
            "socket": str(socket_path),
            "seedFile": str(tmp_path / "seed"),
            "roster": "ab" * 32,
            "publicSeed": "cd" * 32,
            "cache": str(tmp_path / "cache"),
            "work": str(tmp_path / "work"),
            "bundle": str(tmp_path / "bundle"),
            **changes,
        }
        path = tmp_path / "task.json"
        path.write_text(json.dumps({name: value for name, value in task.items() if value is not None}))
        return path

    return write


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Four photos of synthetic faces, two syndromes."""
    root = tmp_path / "cohort"
    root.mkdir()
    rows = ["image,patient,syndrome,role,test_splits"]
    pictures = sorted(FACES.glob("*.jpg"))
    for i in range(4):
        with Image.open(pictures[i % len(pictures)]) as picture:
            picture.convert("RGB").rotate(i).save(root / f"{i}.jpg", quality=95)
        rows.append(f"{i}.jpg,p{i},OMIM:{1 + i % 2},train,")
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    return root


def test_a_task_is_read_with_its_syndromes_in_order(write_task: Write) -> None:
    task = load_task(write_task())
    assert task.trained == ("OMIM:1", "OMIM:2")
    assert task.roster == bytes.fromhex("ab" * 32)
    assert task.site_secret() == bytes(32)


@pytest.mark.parametrize("workload", ["train", "encode"])
def test_a_task_file_that_is_missing_or_no_json_ends_with_64(
    tmp_path: Path, workload: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "task.json"
    assert main([workload, "--task", str(path)]) == ExitCode.BAD_INPUT
    path.write_text("{")
    assert main([workload, "--task", str(path)]) == 64
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"roster": None}, "roster"),
        ({"roster": "xyz"}, "malformed"),
        ({"vocabulary": {}}, "trained"),
        ({"training": section(localEpochs=0)}, "training.localEpochs"),
        ({"training": {**section(), "epochs": 3}}, "training.epochs"),
    ],
)
def test_a_wrong_field_ends_with_64_and_is_named(
    write_task: Write, changes: dict[str, Any], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--task", str(write_task(**changes))]) == 64
    assert named in capsys.readouterr().err


def test_a_seed_file_that_is_missing_or_short_is_a_task_error(write_task: Write, tmp_path: Path) -> None:
    task = load_task(write_task(seedFile=str(tmp_path / "none")))
    with pytest.raises(TaskError, match="write 32 random bytes"):
        task.site_secret()
    (tmp_path / "none").write_bytes(b"short")
    with pytest.raises(TaskError, match="fewer than 16") as caught:
        task.site_secret()
    assert "short" not in str(caught.value)


def test_missing_weights_end_with_65(
    write_task: Write, cohort: Path, socket_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {"name": "nothing-of-that-name"}
    path = write_task(training=section({"initialWeights": weights, "batchSize": 2}))
    with TrainerEndpoint(socket_path, Recorder()):
        assert main(["encode", "--task", str(path)]) == ExitCode.WEIGHTS_MISSING
    assert "nothing-of-that-name" in capsys.readouterr().err


def test_an_unusable_cohort_ends_with_66(
    write_task: Write, socket_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainerEndpoint(socket_path, Recorder()):
        assert main(["encode", "--task", str(write_task())]) == ExitCode.BAD_DATA
    assert "cohort" in capsys.readouterr().err


def test_a_cohort_without_training_photos_is_bad_data() -> None:
    faces = CohortFaces(photos(4).images, ())
    with pytest.raises(DataError, match="manifest") as caught:
        faces.training_data(["OMIM:1"])
    assert caught.value.exit_code is ExitCode.BAD_DATA


def test_every_error_has_an_exit_code_of_its_own_but_for_bad_input() -> None:
    def below(kind: type[TrainingError]) -> list[type[TrainingError]]:
        return [kind, *(found for sub in kind.__subclasses__() for found in below(sub))]

    codes = [kind.exit_code for kind in below(TrainingError) if kind.exit_code is not ExitCode.BAD_INPUT]
    assert len(codes) == len(set(codes))
    assert WeightsError.exit_code == 65
    assert ExitCode.STOPPED in RETRYABLE
    assert ExitCode.BAD_INPUT not in RETRYABLE


def test_members_are_trained_round_by_round_with_the_agent(
    write_task: Write, cohort: Path, socket_path: Path
) -> None:
    agent = Federation()
    with TrainerEndpoint(socket_path, agent):
        train_members(load_task(write_task()), Group())
        handed = [call[:3] for call in agent.calls if call[0] == "aggregate"]
        assert handed == [("aggregate", "small", 1), ("aggregate", "small", 2)]
        assert all(
            np.isfinite(d).all() for call in agent.calls if call[0] == "aggregate" for d in call[3].values()
        )
        assert any(call[0] == "progress" for call in agent.calls)
        encode(load_task(write_task()))
    rows = next(call for call in agent.calls if call[0] == "rows")
    np.testing.assert_allclose(np.linalg.norm(rows[1], axis=1), 1.0, atol=1e-9)
    assert [row["photo"] for row in rows[2]] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_ray_reserves_the_threads_and_gpus_that_the_round_asks_for() -> None:
    assert _per_worker(Resources(workers=0, threads=4)) is None
    assert _per_worker(Resources(workers=2, threads=4)) == {"CPU": 4.0}
    assert _per_worker(Resources(workers=1, threads=1, gpus_per_worker=2)) == {"CPU": 1.0, "GPU": 2.0}


def test_a_checkpoint_that_is_ahead_of_the_agent_is_an_error(
    write_task: Write, cohort: Path, socket_path: Path
) -> None:
    """An agent that lost its state must not get round 2's update as round 1's."""
    agent = Federation()
    with TrainerEndpoint(socket_path, agent):
        train_members(load_task(write_task()), Group())
    forgetful = Federation()
    with TrainerEndpoint(socket_path, forgetful), pytest.raises(CheckpointError, match="t=2"):
        train_members(load_task(write_task()), Group())
    assert not any(call[0] == "aggregate" for call in forgetful.calls)
