"""The real trainer dies before and after it writes a checkpoint: it hands over the same bits as undisturbed."""

import json
import signal
import sys
from pathlib import Path

import pytest

from fedgestalt.data.federation import make_federation
from fedgestalt.training.endpoint import TrainerEndpoint

from .harness import HERE, PLAN, Kill

sys.path.insert(0, str(HERE.parent))

from slow.training.silo import Agent, finish, run_entry, same_bits, write_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

Photos = tuple[Path, Path, list[str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    root = tmp_path_factory.mktemp("photos")
    cohort = make_federation(root, tier="tiny", silos=4, split="near-uniform", seed=0, workers=1)[0]
    return cohort.root, root / "cache", sorted(cohort.trained)


def trained(folder: Path, photos: Photos, kills: list[Kill], monkeypatch: pytest.MonkeyPatch) -> Agent:
    """Train two communication rounds with these kills; the trainer is started again as its agent would."""
    (folder / "record" / "fired").mkdir(parents=True)
    plan = {"record": str(folder / "record"), "kills": [vars(kill) for kill in kills]}
    (folder / "plan.json").write_text(json.dumps(plan))
    monkeypatch.setenv("PYTHONPATH", str(HERE / "inject"), prepend=":")
    monkeypatch.setenv(PLAN, str(folder / "plan.json"))
    agent = Agent()
    task = write_task(folder, photos[0], photos[2], photos[1])
    with TrainerEndpoint(folder / "agent" / "link.sock", agent):
        for _ in kills:
            killed = run_entry("train", task, folder / "tmp")
            output, _ = killed.communicate(timeout=150.0)
            assert killed.returncode == -signal.SIGKILL, output[-4000:]
        finish(run_entry("train", task, folder / "tmp"))
    return agent


def test_a_kill_at_a_checkpoint_changes_no_bit(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = trained(tmp_path / "undisturbed", photos, [], monkeypatch)
    kills = [Kill("trainer", "checkpoint", "before", 1), Kill("trainer", "checkpoint", "after", 1)]
    agent = trained(tmp_path / "killed", photos, kills, monkeypatch)
    fired = {path.name for path in (tmp_path / "killed" / "record" / "fired").iterdir()}
    assert fired == {kill.marker for kill in kills}
    assert agent.updates == undisturbed.updates
    assert same_bits(agent.models["small"][1], undisturbed.models["small"][1])
