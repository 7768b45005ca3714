"""What is there only while a round runs: secrets in the silos' stores, blobs, shared memory, processes."""

import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

SHARED_MEMORY = Path("/dev/shm")
MOST = 64 * 2**20
"""Bytes that are kept of one file of shared memory."""


class Watch:
    """Samples twice a second, in a thread of its own."""

    def __init__(self, workdir: Path) -> None:
        self._workdir, self._stop = workdir, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._before = set(SHARED_MEMORY.glob("**/*"))
        self.secrets: dict[str, dict[str, bytes]] = {}
        """Silo -> key -> value of its store."""
        self.passing: dict[str, bytes] = {}
        """Files that may be gone at the end, by path."""
        self.processes: set[bytes] = set()
        """Arguments and environments."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.sample()
            if self._stop.wait(0.5):
                return

    def sample(self) -> None:
        """Look once."""
        for store in self._workdir.glob("silos/*/agent/*.sqlite"):
            self._read_store(store.parts[-3], store)
        shared = (path for path in SHARED_MEMORY.glob("**/*") if path not in self._before)
        for path in (*self._workdir.glob("hub/**/blobs/*"), *self._workdir.glob("hub/jobs/**/*"), *shared):
            self._keep(path)
        for name in ("cmdline", "environ"):
            for path in Path("/proc").glob(f"[0-9]*/{name}"):
                try:
                    self.processes.add(path.read_bytes())
                except OSError:
                    continue  # it ended

    def _keep(self, path: Path) -> None:
        try:
            if path.is_file() and len(self.passing.get(str(path), b"")) < min(path.stat().st_size, MOST):
                with path.open("rb") as file:
                    self.passing[str(path)] = file.read(MOST)
        except OSError:
            return

    def _read_store(self, silo: str, path: Path) -> None:
        # A copy is read: a reader's lock on the store itself would keep the agent from truncating its journal.
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            try:
                shutil.copyfile(path, copy)
                shutil.copyfile(f"{path}-wal", f"{copy}-wal")
                with sqlite3.connect(copy) as db:
                    rows = db.execute("SELECT key, value FROM entries").fetchall()
            except (OSError, sqlite3.Error):
                return  # torn between two writes; the next sample is not
        self.secrets.setdefault(silo, {}).update({key: bytes(value) for key, value in rows})
