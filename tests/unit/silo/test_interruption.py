"""SIGTERM ends an agent at once, whatever its main thread waits for."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.chain import MemoryChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.tls import make_tls
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.silo.agent import Agent
from fedgestalt.silo.config import load_site_config
from fedgestalt.silo.interruption import Interruption
from fedgestalt.silo.round import RoundWork

PROMPT = 5.0
PATIENCE = 60.0


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a listener that takes connections and never says a word, as a stalled proxy does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def client(folder: Path, port: int) -> BoardClient:
    identity = Identity.generate()
    files = make_tls(folder / "tls", ["127.0.0.1"])
    return BoardClient(
        f"https://127.0.0.1:{port}",
        files.ca,
        KeyCredential(identity, Role.SILO, "west", identity.public),
        name="west",
        hub_key=identity.public,
        state=MemoryChainState(),
        deadline=PATIENCE,
    )


def seconds_to_end(run: Callable[[], None], on_signal: Callable[..., None]) -> float:
    """How long after SIGTERM `run` returns."""
    sent: list[float] = []

    def send() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, on_signal)
    timer = threading.Timer(0.5, send)
    timer.start()
    try:
        run()
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, before)
    return time.monotonic() - sent[0]


@pytest.mark.parametrize("wait", ["an answer", "a pause between retries", "a lock"])
def test_a_signal_ends_every_kind_of_wait(tmp_path: Path, silent: int, wait: str) -> None:
    interruption = Interruption()
    held = threading.Lock()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    waits: dict[str, Callable[[], object]] = {
        "an answer": lambda: client(tmp_path, silent).heartbeat(),
        "a pause between retries": lambda: client(tmp_path, nobody).heartbeat(),
        "a lock": lambda: held.acquire(timeout=PATIENCE),
    }
    held.acquire()

    def work() -> None:
        waits[wait]()

    assert seconds_to_end(lambda: interruption.run(work), interruption.on_signal) < PROMPT
    assert interruption.stopping.is_set()


def test_what_ends_by_itself_is_not_disturbed_and_a_later_signal_raises_nothing() -> None:
    interruption = Interruption()
    done: list[str] = []
    interruption.run(lambda: done.append("work"))
    interruption.on_signal(signal.SIGTERM, None)
    interruption.on_signal(signal.SIGTERM, None)
    interruption.run(lambda: done.append("never"))
    assert done == ["work"]


def test_an_agent_whose_main_thread_waits_for_the_exchange_ends_its_processes_and_itself(
    tmp_path: Path, silent: int
) -> None:
    Identity.generate().save(tmp_path / "identity.pem")
    content = {
        "name": "west",
        "exchange": {"url": f"https://127.0.0.1:{silent}", "ca": "tls/ca.pem"},
        "hubKey": bytes(32).hex(),
        "identity": "identity.pem",
        "datasets": {},
        "seed": "seed",
        "handover": "shared",
    }
    (tmp_path / "site.json").write_text(json.dumps(content))
    exchange = client(tmp_path, silent)
    agent = Agent(load_site_config(tmp_path / "site.json"))
    stopped: list[str] = []
    # As after a restart: the round sends again what it had announced, and the exchange does not answer.
    work: Any = SimpleNamespace(poll=exchange.heartbeat, stop=lambda: stopped.append("round"))
    agent._rounds["round"] = cast(RoundWork, work)
    assert seconds_to_end(agent.run, agent.on_signal) < PROMPT
    assert stopped == ["round"]
