"""The socket between trainer and silo agent: round trips, refusals, restarts in the middle."""

import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_IMODE
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedgestalt.training.endpoint import TrainerEndpoint
from fedgestalt.training.errors import (
    AgentRefusedError,
    AgentUnreachableError,
    BoundExceededError,
    StoppedError,
    TrainingError,
)
from fedgestalt.training.exit_codes import ExitCode
from fedgestalt.training.frames import Limits
from fedgestalt.training.link import AgentLink, Patience
from fedgestalt.training.messages import LinkRefusal, MemberState

from .agents import Recorder

QUICK = Patience(silence=2.0, unreachable=15.0, answer=20.0)
Delta = dict[str, NDArray[np.float64]]


def update(seed: int = 0) -> Delta:
    rng = np.random.default_rng(seed)
    return {
        "head.weight": rng.normal(size=(3, 2)),
        "extractor.a": rng.normal(size=5),
        "s": rng.normal(size=()),
    }


@pytest.fixture
def agent() -> Recorder:
    return Recorder()


@pytest.fixture
def endpoint(agent: Recorder, socket_path: Path) -> Iterator[TrainerEndpoint]:
    with TrainerEndpoint(socket_path, agent, heartbeat=0.1) as served:
        yield served


@pytest.fixture
def link(endpoint: TrainerEndpoint, socket_path: Path) -> Iterator[AgentLink]:
    with AgentLink(socket_path, QUICK) as opened:
        yield opened


def test_resume_brings_each_member_s_round_and_model(agent: Recorder, link: AgentLink) -> None:
    model = {
        "extractor.a/b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "head.bias": np.array([1, 2], dtype=np.float32),
    }
    agent.states = {"r50": MemberState(3, model), "r100": MemberState(0, {})}
    states = link.resume()
    assert {name: state.t for name, state in states.items()} == {"r50": 3, "r100": 0}
    assert states["r50"].tensors.keys() == model.keys()
    assert all(states["r50"].tensors[n].tobytes() == model[n].tobytes() for n in model)
    assert states["r50"].tensors["extractor.a/b"].shape == (2, 3)


def test_the_start_arrives_bit_for_bit(agent: Recorder, link: AgentLink) -> None:
    start = {
        "b": np.random.default_rng(0).normal(size=(2, 2)).astype(np.float32),
        "a": np.zeros(0, np.float32),
    }
    link.initial("r50", start)
    _, member, received = agent.calls[-1]
    assert member == "r50"
    assert list(received) == ["a", "b"]
    assert received["b"].tobytes() == start["b"].tobytes()


def test_an_update_arrives_in_canonical_order_and_its_model_comes_back(
    agent: Recorder, link: AgentLink
) -> None:
    delta = update()
    answer = link.aggregate("r50", 2, delta)
    _, member, t, received = agent.calls[-1]
    assert (member, t, list(received)) == ("r50", 2, sorted(delta))
    assert all(received[n].tobytes() == delta[n].tobytes() for n in delta)
    assert all(received[n].shape == delta[n].shape for n in delta)
    assert (answer.t, answer.skipped) == (2, False)
    assert all((answer.tensors[n] == delta[n].astype(np.float32)).all() for n in delta)
    assert all(a.dtype == np.float32 for a in answer.tensors.values())


def test_a_skipped_round_is_told(link: AgentLink) -> None:
    assert link.aggregate("r50", 7, update()).skipped


def test_rows_and_progress_arrive(agent: Recorder, link: AgentLink) -> None:
    embeddings = np.random.default_rng(1).normal(size=(2, 4))
    rows: list[dict[str, Any]] = [
        {"photo": "a.jpg", "test_splits": [1, 2]},
        {"photo": "ä.jpg", "test_splits": []},
    ]
    link.rows(embeddings, rows)
    link.progress("r50", 1, 0.25, "epoch 1/5")
    assert agent.calls[0][1].tobytes() == embeddings.tobytes()
    assert agent.calls[0][2] == rows
    assert agent.calls[1] == ("progress", "r50", 1, 0.25, "epoch 1/5")


def test_rows_without_metadata_each_are_refused_before_they_are_sent(
    agent: Recorder, link: AgentLink
) -> None:
    with pytest.raises(ValueError, match="1 rows of metadata"):
        link.rows(np.zeros((2, 4)), [{}])
    assert agent.calls == []


def test_only_this_user_may_open_the_socket(endpoint: TrainerEndpoint, socket_path: Path) -> None:
    assert S_IMODE(socket_path.stat().st_mode) == 0o600
    assert S_IMODE(socket_path.parent.stat().st_mode) == 0o700


def test_a_folder_that_others_may_enter_is_refused(agent: Recorder, socket_path: Path) -> None:
    socket_path.parent.mkdir(mode=0o755)
    socket_path.parent.chmod(0o755)
    with pytest.raises(PermissionError, match="0700"):
        TrainerEndpoint(socket_path, agent).start()


def test_two_agents_cannot_serve_one_socket(
    agent: Recorder, endpoint: TrainerEndpoint, socket_path: Path
) -> None:
    with pytest.raises(FileExistsError, match="another agent"):
        TrainerEndpoint(socket_path, agent).start()


def test_a_socket_deeper_than_an_address_works(agent: Recorder, tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 60) / "link.sock"
    with TrainerEndpoint(path, agent), AgentLink(path, QUICK) as link:
        assert link.resume() == {}
    assert not path.exists()


@pytest.mark.parametrize(
    ("code", "kind", "exit_code"),
    [
        ("stopped", StoppedError, ExitCode.STOPPED),
        ("bound-exceeded", BoundExceededError, ExitCode.BOUND_EXCEEDED),
        ("start-differs", AgentRefusedError, ExitCode.AGENT_REFUSED),
    ],
)
def test_a_refusal_becomes_the_error_with_its_exit_code(
    agent: Recorder, link: AgentLink, code: str, kind: type[TrainingError], exit_code: ExitCode
) -> None:
    agent.refusal = LinkRefusal(code, "because of this")
    with pytest.raises(kind, match="because of this") as caught:
        link.aggregate("r50", 1, update())
    assert caught.value.exit_code is exit_code
    agent.refusal = None
    assert link.resume() == {}, "the connection is still good"


def test_an_agent_s_bug_is_told_by_its_type_only(agent: Recorder, link: AgentLink) -> None:
    agent.bug = RuntimeError("a value that must stay inside")
    with pytest.raises(AgentRefusedError, match="RuntimeError") as caught:
        link.resume()
    assert caught.value.code == "internal"
    assert "inside" not in str(caught.value)


def test_heartbeats_carry_a_wait_that_is_longer_than_the_permitted_silence(
    agent: Recorder, endpoint: TrainerEndpoint, socket_path: Path
) -> None:
    agent.gate.clear()
    threading.Timer(1.0, agent.gate.set).start()
    with AgentLink(socket_path, Patience(silence=0.5, unreachable=0.5, answer=20.0)) as link:
        assert link.aggregate("r50", 1, update()).t == 1
    assert [call[0] for call in agent.calls] == ["aggregate"]


def test_a_wait_ends_at_its_limit_however_alive_the_agent_is(
    agent: Recorder, endpoint: TrainerEndpoint, socket_path: Path
) -> None:
    agent.gate.clear()
    begun = time.monotonic()
    with (
        AgentLink(socket_path, Patience(silence=2.0, unreachable=5.0, answer=0.6)) as link,
        pytest.raises(AgentUnreachableError, match="no answer to 'aggregate'"),
    ):
        link.aggregate("r50", 1, update())
    assert time.monotonic() - begun < 5.0
    agent.gate.set()


def test_an_absent_agent_is_given_up_after_the_limit(socket_path: Path) -> None:
    link = AgentLink(socket_path, Patience(silence=0.5, unreachable=0.5, answer=20.0))
    with pytest.raises(AgentUnreachableError, match="start the agent") as caught:
        link.resume()
    assert caught.value.exit_code is ExitCode.AGENT_UNREACHABLE


def test_progress_does_not_wait_for_an_absent_agent(socket_path: Path) -> None:
    link = AgentLink(socket_path, QUICK)
    begun = time.monotonic()
    for _ in range(100):
        link.progress("r50", 1, 0.5, "epoch 1/2")
    assert time.monotonic() - begun < 2.0


def test_an_update_outlives_the_agent_that_was_killed_while_it_waited(
    agent: Recorder, socket_path: Path
) -> None:
    """The trainer sends the same bytes to the agent's successor."""
    agent.gate.clear()
    first = TrainerEndpoint(socket_path, agent, heartbeat=0.1)
    first.start()
    with ThreadPoolExecutor(1) as pool, AgentLink(socket_path, QUICK) as link:
        answer = pool.submit(link.aggregate, "r50", 1, update())
        assert agent.entered.acquire(timeout=5.0)
        first.close()
        successor = Recorder()
        with TrainerEndpoint(socket_path, successor, heartbeat=0.1):
            assert answer.result(timeout=15.0).t == 1
        agent.gate.set()
    before, after = agent.calls[-1][3], successor.calls[-1][3]
    assert [call[0] for call in successor.calls] == ["aggregate"]
    assert all(before[n].tobytes() == after[n].tobytes() for n in before)


def test_a_repeated_update_joins_the_call_that_is_under_way(
    agent: Recorder, endpoint: TrainerEndpoint, socket_path: Path
) -> None:
    agent.gate.clear()
    with (
        ThreadPoolExecutor(2) as pool,
        AgentLink(socket_path, QUICK) as one,
        AgentLink(socket_path, QUICK) as two,
    ):
        first = pool.submit(one.aggregate, "r50", 1, update())
        assert agent.entered.acquire(timeout=5.0)
        second = pool.submit(two.aggregate, "r50", 1, update())
        time.sleep(0.3)
        agent.gate.set()
        assert first.result(10.0).t == second.result(10.0).t == 1
    assert len(agent.calls) == 1


def test_a_second_update_of_one_communication_round_is_refused(agent: Recorder, link: AgentLink) -> None:
    link.aggregate("r50", 1, update(0))
    with pytest.raises(AgentRefusedError, match="another update") as caught:
        link.aggregate("r50", 1, update(1))
    assert caught.value.code == "conflict"
    assert len(agent.calls) == 1
    assert link.aggregate("r100", 1, update(1)).t == 1, "another member has a mask of its own"
    assert link.aggregate("r50", 2, update(1)).t == 2


def test_an_update_that_the_agent_refused_may_be_tried_again(agent: Recorder, link: AgentLink) -> None:
    agent.refusal = LinkRefusal("busy", "later")
    with pytest.raises(AgentRefusedError):
        link.aggregate("r50", 1, update())
    agent.refusal = None
    assert link.aggregate("r50", 1, update()).t == 1


def test_an_oversized_update_is_refused_before_it_is_read(agent: Recorder, socket_path: Path) -> None:
    small = Limits(payload=64)
    patience = Patience(silence=0.5, unreachable=0.6, answer=3.0)
    with (
        TrainerEndpoint(socket_path, agent, limits=small),
        AgentLink(socket_path, patience) as link,
        pytest.raises(AgentUnreachableError),
    ):
        link.aggregate("r50", 1, {"a": np.zeros(9)})
    assert agent.calls == []


def test_a_trainer_does_not_try_to_send_what_the_link_cannot_carry(
    agent: Recorder, socket_path: Path
) -> None:
    with (
        TrainerEndpoint(socket_path, agent),
        AgentLink(socket_path, QUICK, Limits(payload=64)) as link,
        pytest.raises(AgentRefusedError, match="72 bytes") as caught,
    ):
        link.aggregate("r50", 1, {"a": np.zeros(9)})
    assert caught.value.code == "too-large"
    assert agent.calls == []


def test_a_refusal_survives_pickling_as_ray_pickles_it() -> None:
    error = pickle.loads(pickle.dumps(AgentRefusedError("conflict", "another update")))
    assert (error.code, str(error)) == ("conflict", "conflict: another update")
