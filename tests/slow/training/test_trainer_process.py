"""The trainer as sites run it: `python -m fedgestalt.training.entry`, with Ray inside."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from fedgestalt.data.federation import make_federation
from fedgestalt.training.endpoint import TrainerEndpoint
from fedgestalt.training.exit_codes import ExitCode
from fedgestalt.training.messages import LinkRefusal

from .silo import Agent, Model, finish, run_entry, same_bits, write_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """One hospital of the tiny tier, a cache of faces for all runs, and the trained syndromes."""
    root = tmp_path_factory.mktemp("photos")
    cohort = make_federation(root, tier="tiny", silos=4, split="near-uniform", seed=0, workers=1)[0]
    return cohort.root, root / "cache", sorted(cohort.trained)


@pytest.fixture(scope="module")
def undisturbed(photos: tuple[Path, Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The final model of a run in local mode that nobody killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    agent = Agent()
    task = write_task(folder, photos[0], photos[2], photos[1])
    with TrainerEndpoint(folder / "agent" / "link.sock", agent):
        finish(run_entry("train", task, folder / "tmp"))
    t, model = agent.models["small"]
    assert t == 2
    assert len(agent.updates) == 2
    assert all(any(update) for updates in agent.updates.values() for update in updates)
    return model


def processes_under(folder: Path) -> list[str]:
    """Command lines of living processes that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and int(entry.name) != os.getpid():
            found.append(line)
    return found


def open_ports(folder: Path) -> list[str]:
    """Ports beyond loopback of the trainer, Ray's server and its raylet: their command lines name the folder."""
    inodes = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() not in (entry / "cmdline").read_bytes():
                continue
            targets = [str(descriptor.readlink()) for descriptor in (entry / "fd").iterdir()]
            inodes |= {target[8:-1] for target in targets if target.startswith("socket:[")}
        except OSError:
            continue
    assert inodes
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            listening = fields[3] == "0A" and fields[9] in inodes
            if listening and fields[1].partition(":")[0] not in loopback:
                found.append(fields[1])
    return found


def wait_until_gone(folder: Path, limit: float = 40.0) -> None:
    until = time.monotonic() + limit
    while processes_under(folder):
        assert time.monotonic() < until, processes_under(folder)
        time.sleep(0.5)


def test_local_mode_trains_and_is_bit_identical_when_repeated(
    photos: tuple[Path, Path, list[str]], undisturbed: Model, tmp_path: Path
) -> None:
    agent = Agent()
    task = write_task(tmp_path, photos[0], photos[2], photos[1])
    with TrainerEndpoint(tmp_path / "agent" / "link.sock", agent):
        finish(run_entry("train", task, tmp_path / "tmp"))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert same_bits(agent.models["small"][1], undisturbed)
    assert [told for told in agent.told if told[2] > 0.99]


def test_encode_hands_unit_rows_to_the_agent_and_writes_none(
    photos: tuple[Path, Path, list[str]], undisturbed: Model, tmp_path: Path
) -> None:
    agent = Agent()
    agent.models["small"] = (2, undisturbed)
    task = write_task(tmp_path, photos[0], photos[2], photos[1])
    with TrainerEndpoint(tmp_path / "agent" / "link.sock", agent):
        output = finish(run_entry("encode", task, tmp_path / "tmp"))
    assert agent.embeddings is not None
    assert len(agent.embeddings) == len(agent.rows_told) > 0
    encoded = {Path(row["photo"]).name for row in agent.rows_told}
    without_face = {path.name for path in (photos[0] / "photos").iterdir()} - encoded
    assert len(without_face) <= 2
    assert all(name in output for name in without_face), "photos without a face are listed"
    np.testing.assert_allclose(np.linalg.norm(agent.embeddings, axis=1), 1.0, atol=1e-9)
    assert {row["role"] for row in agent.rows_told} == {"train", "test", "rotating"}
    raw = agent.embeddings[0].tobytes(), agent.embeddings[0].astype(np.float32).tobytes()
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert not any(row in path.read_bytes() for row in raw), path


def test_a_killed_trainer_hands_over_the_same_bytes_again(
    photos: tuple[Path, Path, list[str]], undisturbed: Model, tmp_path: Path
) -> None:
    """The agent still waits for the federation when the trainer is back: another update would be refused."""
    agent = Agent(hold=2)
    task = write_task(tmp_path, photos[0], photos[2], photos[1])
    with TrainerEndpoint(tmp_path / "agent" / "link.sock", agent):
        first = run_entry("train", task, tmp_path / "tmp")
        assert agent.handed_over.wait(60.0)
        first.kill()
        first.communicate()
        assert agent.resumed.acquire(timeout=1.0)
        second = run_entry("train", task, tmp_path / "tmp")
        assert agent.resumed.acquire(timeout=60.0)
        agent.gate.set()
        finish(second)
    assert same_bits(agent.models["small"][1], undisturbed)
    assert len(agent.updates["small", 1]) == 1


def test_kill_9_between_communication_rounds_resumes_to_the_same_bits_with_a_real_ray_worker(
    photos: tuple[Path, Path, list[str]], undisturbed: Model, tmp_path: Path
) -> None:
    """In a work folder deeper than a socket's address, whose Ray must be gone with the killed trainer."""
    deep = tmp_path / ("a-long-name-of-a-hospital-" * 4) / "work-of-the-silo"
    agent = Agent(hold=1)
    task = write_task(deep, photos[0], photos[2], photos[1], workers=1)
    with TrainerEndpoint(deep / "agent" / "link.sock", agent):
        first = run_entry("train", task, tmp_path / "tmp")
        if not agent.handed_over.wait(150.0):
            first.kill()
            raise AssertionError(first.communicate()[0][-4000:])
        exposed = open_ports(deep)
        first.kill()
        first.wait()
        assert exposed == []
        assert first.stdout is not None
        first.stdout.close()
        wait_until_gone(deep)
        agent.gate.set()
        finish(run_entry("train", task, tmp_path / "tmp"))
    assert same_bits(agent.models["small"][1], undisturbed)
    # The repeated update is the one that was handed over before, or the agent had finished its round already.
    assert len(set(agent.updates["small", 1])) == 1
    wait_until_gone(deep)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list((deep / "work" / "ray").glob("session_2*"))


def test_two_workers_train_the_shared_model_with_distributed_data_parallel(
    photos: tuple[Path, Path, list[str]], undisturbed: Model, tmp_path: Path
) -> None:
    agent = Agent()
    task = write_task(tmp_path, photos[0], photos[2], photos[1], workers=2)
    with TrainerEndpoint(tmp_path / "agent" / "link.sock", agent):
        output = finish(run_entry("train", task, tmp_path / "tmp"))
    assert agent.models["small"][0] == 2
    model = agent.models["small"][1]
    assert model.keys() == undisturbed.keys()
    assert not same_bits(model, undisturbed)
    # Other batches for BatchNorm and other noise, the same photos in the same order: a near, not an equal model.
    difference = sum(float(np.sum((model[n] - undisturbed[n]) ** 2.0)) for n in model) ** 0.5
    norm = sum(float(np.sum(undisturbed[n] ** 2.0)) for n in model) ** 0.5
    assert 0 < difference < 0.1 * norm
    assert "dashboard" not in output.lower()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_refusal_ends_all_workers_with_its_exit_code(
    photos: tuple[Path, Path, list[str]], tmp_path: Path
) -> None:
    """Rank 0 is refused while rank 1 waits for its broadcast: Ray must end both, and keep the reason."""
    agent = Agent(refuse=LinkRefusal("conflict", "another update was handed over already"))
    task = write_task(tmp_path, photos[0], photos[2], photos[1], workers=2)
    with TrainerEndpoint(tmp_path / "agent" / "link.sock", agent):
        process = run_entry("train", task, tmp_path / "tmp")
        output, _ = process.communicate(timeout=150)
    assert process.returncode == ExitCode.AGENT_REFUSED, output[-4000:]
    assert "error: conflict: another update" in output
    wait_until_gone(tmp_path)
