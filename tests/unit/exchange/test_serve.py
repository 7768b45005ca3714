"""The server as a process: ready file, SIGTERM, SIGKILL."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.errors import ExchangeError
from fedgestalt.exchange.tls import TlsFiles

from .conftest import NAMES, ROUND, Federation


class Process:
    """``fedgestalt exchange serve`` as a child, which can be killed and started again on the same port."""

    def __init__(self, federation: Federation, root: Path) -> None:
        self.federation, self.root = federation, root
        federation.hub.save(root / "hub.pem")
        federation.write_registry()
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        ready = self.root / "ready"
        ready.unlink(missing_ok=True)
        tls = self.federation.tls
        arguments = {
            "--dir": self.root / "board",
            "--port": self.federation.port,
            "--hub-key": self.root / "hub.pem",
            "--tls-cert": tls.certificate,
            "--tls-key": tls.key,
            "--silos": self.federation.registry,
            "--ready-file": ready,
        }
        words = [str(word) for pair in arguments.items() for word in pair]
        self.child = subprocess.Popen(
            [sys.executable, "-m", "fedgestalt.cli.main", "exchange", "serve", *words],
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 30
        while not ready.exists():
            assert self.child.poll() is None, "the exchange ended at its start"
            assert time.monotonic() < end, "the exchange did not get ready"
            time.sleep(0.05)
        self.federation.port = int(ready.read_text())

    def end(self, number: int) -> int:
        assert self.child is not None
        self.child.send_signal(number)
        return self.child.wait(20)


@pytest.fixture
def process(tmp_path: Path, tls: TlsFiles) -> Iterator[Process]:
    federation = Federation(tmp_path, tls)
    made = Process(federation, tmp_path)
    made.start()
    yield made
    federation.close()
    if made.child is not None and made.child.poll() is None:
        made.end(signal.SIGKILL)


def test_sigterm_ends_a_server_with_long_polls_soon_and_cleanly(process: Process) -> None:
    federation = process.federation
    federation.open_round()
    west = federation.client("west", deadline=1.0)
    west.entries(ROUND, 0)

    def poll() -> None:
        with contextlib.suppress(ExchangeError):
            west.entries(ROUND, 1, wait=25)

    thread = threading.Thread(target=poll)
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert process.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5
    assert not (process.root / "ready").exists()
    assert not (process.root / "board" / "board.sqlite-wal").exists()
    thread.join(30)


def test_the_server_loads_no_torch_and_stays_small(process: Process) -> None:
    assert process.child is not None
    status = Path(f"/proc/{process.child.pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    process.federation.open_round()
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 120 * 1024
    assert "libtorch" not in Path(f"/proc/{process.child.pid}/maps").read_text()


@pytest.mark.slow
def test_what_was_acknowledged_survives_sigkill(process: Process, tmp_path: Path) -> None:
    """Silos post while the server is killed again and again: every receipt that was given still holds."""
    federation = process.federation
    federation.open_round()
    clients: list[BoardClient] = [federation.client(name, deadline=60.0) for name in NAMES]
    for client in clients:
        client.post(federation.enrol_message(client.name).encode())
    receipts: dict[int, tuple[bytes, bytes]] = {}
    stop = threading.Event()

    def work(client: BoardClient) -> None:
        t = 0
        while not stop.is_set():
            t += 1
            message = federation.masked(client.name, f"{client.name} {t} and padding".encode(), t=t)
            receipt = client.post(message)
            assert client.post(message) == receipt
            receipts[receipt.seq] = (receipt.hash, message)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.7)
        process.end(signal.SIGKILL)
        process.start()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join(90)
        assert not thread.is_alive()
    assert len(receipts) > 10
    reader = federation.client("west")
    entries, after = {}, 0
    while batch := reader.entries(ROUND, after):
        entries.update({entry.seq: entry.message for entry in batch})
        after = batch[-1].seq
    assert all(entries[seq] == message for seq, (_, message) in receipts.items())
