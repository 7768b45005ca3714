"""kill -9 before and after every boundary, in every role: the round succeeds with the bits of the undisturbed one."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .harness import SILOS, Ended, Federation, Kill, run
from .sent import assert_no_mask_reused

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

AGENT = [sys.executable, "-m", "fedgestalt.cli.main", "silo", "agent", "--site"]
EXCHANGE = {
    "messages": [
        Kill("exchange", "append", "before", 9),
        Kill("exchange", "append", "after", 11),
        Kill("exchange", "tasks", "before", 1),
        Kill("exchange", "tasks", "after", 1),
    ],
    "uploads": [
        Kill("exchange", "blob", "before", 3),
        Kill("exchange", "blob", "after", 1),
        Kill("exchange", "blob", "before", 6),
        Kill("exchange", "blob", "after", 4),
    ],
    "blobs": [
        Kill("exchange", "start", "before", 1),
        Kill("exchange", "blob record", "before", 5),
        Kill("exchange", "blob record", "after", 3),
        Kill("exchange", "mark deleted", "before", 2),
        Kill("exchange", "mark deleted", "after", 1),
    ],
}
AGENTS = {
    "messages": [
        Kill("agent:east", "post", "before", 2),
        Kill("agent:east", "post", "after", 5),
        Kill("agent:north", "chain", "before", 7),
        Kill("agent:north", "chain", "after", 9),
        Kill("agent:south", "download", "before", 3),
        Kill("agent:south", "download", "after", 4),
        Kill("agent:west", "spawn", "before", 1),
        Kill("agent:west", "spawn", "after", 2),
    ],
    "secrets and vectors": [
        Kill("agent:east", "store", "before", 4),
        Kill("agent:east", "store", "after", 12),
        Kill("agent:north", "spool", "before", 1),
        Kill("agent:north", "spool", "after", 1),
        Kill("agent:south", "upload", "before", 1),
        Kill("agent:south", "upload", "after", 1),
        Kill("agent:west", "model", "before", 2),
        Kill("agent:west", "model", "after", 1),
    ],
}
WORKLOADS = [
    Kill("trainer:east", "start", "before", 1),
    Kill("trainer:east", "connect", "after", 1),
    Kill("trainer:north", "aggregate", "before", 1),
    Kill("trainer:north", "aggregate", "after", 1),
    Kill("trainer:south", "connect", "before", 1),
    Kill("encoder:south", "start", "before", 1),
    Kill("encoder:west", "rows", "before", 1),
    Kill("encoder:west", "rows", "after", 1),
]
DRIVER = {
    "board": [
        Kill("driver", "post", "before", 3),
        Kill("driver", "post", "after", 4),
        Kill("driver", "chain", "before", 8),
        Kill("driver", "chain", "after", 9),
    ],
    "tasks and blobs": [
        Kill("driver", "put tasks", "before", 1),
        Kill("driver", "put tasks", "after", 1),
        Kill("driver", "delete blob", "before", 2),
        Kill("driver", "delete blob", "after", 1),
    ],
    "jobs": [
        Kill("driver", "create job", "before", 1),
        Kill("driver", "create job", "after", 1),
        Kill("driver", "settle job", "before", 3),
        Kill("driver", "settle job", "after", 4),
    ],
}
JOBS = [
    Kill("job:aggregate", "start", "before", 1),
    Kill("job:aggregate", "fetch", "before", 1),
    Kill("job:aggregate", "fetch", "after", 3),
    Kill("job:aggregate", "upload", "before", 1),
    Kill("job:aggregate", "upload", "after", 1),
    Kill("job:aggregate", "result", "before", 1),
    Kill("job:aggregate", "result", "after", 1),
    Kill("job:kernel", "start", "before", 1),
    Kill("job:kernel", "download", "after", 2),
    Kill("job:kernel", "upload", "before", 2),
    Kill("job:kernel", "upload", "after", 4),
    Kill("job:kernel", "result", "before", 1),
    Kill("job:kernel", "result", "after", 1),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    ended = run(tmp_path_factory.mktemp("undisturbed"))
    assert ended.phase == "Succeeded", ended.log()
    return ended


def check(ended: Ended, kills: list[Kill], undisturbed: Ended) -> None:
    """Every kill happened, and yet nothing is lost, repeated or different."""
    assert ended.fired == {kill.marker for kill in kills}, ended.log()
    assert ended.phase == "Succeeded", ended.log()
    assert ended.outcome is not None
    assert undisturbed.outcome is not None
    assert ended.models() == undisturbed.models(), "rounds, survivors or model hashes differ"
    assert ended.outcome["score"] == undisturbed.outcome["score"]
    weights = {name: facts["weight"] for name, facts in ended.outcome["manifest"]["roster"].items()}
    assert set(weights) == set(SILOS)
    # Four silos, in each communication round and in the evaluation.
    assert assert_no_mask_reused(ended.record, weights) >= 4 * 3


def test_the_undisturbed_round_reuses_no_mask(undisturbed: Ended) -> None:
    check(undisturbed, [], undisturbed)


@pytest.mark.parametrize("kind", EXCHANGE)
def test_a_killed_exchange_loses_nothing(undisturbed: Ended, tmp_path: Path, kind: str) -> None:
    check(run(tmp_path, EXCHANGE[kind]), EXCHANGE[kind], undisturbed)


@pytest.mark.parametrize("kind", AGENTS)
def test_killed_agents_go_on_with_the_same_bytes(undisturbed: Ended, tmp_path: Path, kind: str) -> None:
    check(run(tmp_path, AGENTS[kind]), AGENTS[kind], undisturbed)


def test_killed_trainers_and_encoders_hand_over_the_same(undisturbed: Ended, tmp_path: Path) -> None:
    check(run(tmp_path, WORKLOADS), WORKLOADS, undisturbed)


@pytest.mark.parametrize("kind", DRIVER)
def test_a_killed_driver_goes_on_where_the_board_stands(
    undisturbed: Ended, tmp_path: Path, kind: str
) -> None:
    ended = run(tmp_path, DRIVER[kind])
    assert ended.driver_exits == [-9] * len(DRIVER[kind]) + [0], ended.log()
    check(ended, DRIVER[kind], undisturbed)


def test_killed_jobs_run_again_to_the_same_output(undisturbed: Ended, tmp_path: Path) -> None:
    check(run(tmp_path, JOBS), JOBS, undisturbed)


def test_agents_killed_while_they_forget_finish_it_at_the_next_start(
    undisturbed: Ended, tmp_path: Path
) -> None:
    kills = [Kill("agent:east", "forget", "before", 1), Kill("agent:west", "forget", "after", 1)]
    federation = Federation(tmp_path, kills)
    check(federation.finish(150.0), kills, undisturbed)
    assert federation.finish(60.0).driver_exits == [0, 0]
    for name in SILOS:
        silo = tmp_path / "federation" / "silos" / name
        assert list(silo.glob("work/*/finished")), name
        # A driver that finds the round over may have ended its agents before they had started.
        with subprocess.Popen([*AGENT, str(silo / "site.json")], stderr=subprocess.PIPE) as agent:
            until = time.monotonic() + 30.0
            while secrets_of(silo) and time.monotonic() < until:
                time.sleep(0.1)
            agent.terminate()
            _, log = agent.communicate(timeout=30.0)
        assert not secrets_of(silo), name
        assert b"Traceback" not in log, name
        assert "Traceback" not in (tmp_path / "federation" / "logs" / f"{name}.log").read_text(), name


def secrets_of(silo: Path) -> list[str]:
    """Keys of the round's secrets that a silo's stores still hold."""
    keys = []
    for store in silo.glob("agent/*.sqlite"):
        if store.name == "grants.sqlite":
            continue  # made at the first look into it; it holds no secrets and no `entries`
        with sqlite3.connect(store) as db:
            keys += [key for (key,) in db.execute("SELECT key FROM entries")]
    return [key for key in keys if key.startswith("secagg/")]
