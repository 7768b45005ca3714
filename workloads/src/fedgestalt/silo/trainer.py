"""Starts the trainer and the encoder, which hold no keys, and starts them again when they die."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedgestalt.files import write_atomic
from fedgestalt.processes import Child, spawn
from fedgestalt.training.exit_codes import RETRYABLE, ExitCode

log = logging.getLogger(__name__)

MAX_RESTARTS = 5


class Workload:
    """One command over one task file, restarted after a kill or a failure that a restart can mend."""

    def __init__(
        self,
        name: str,
        task: Mapping[str, Any],
        *,
        command: Sequence[str],
        directory: Path,
        logs: Path,
        threads: int,
    ) -> None:
        """``name`` is ``train`` or ``encode``; ``task`` goes into a file, never into arguments."""
        self.name = name
        self._command = [*command, name]
        self._file = directory / f"{name}.json"
        self._directory, self._log = directory, logs / f"{name}.log"
        self._environment = {
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
        }
        write_atomic(self._file, json.dumps(dict(task), indent=2).encode())
        self._child: Child | None = None
        self.restarts = 0
        self.failed: int | None = None
        """The exit code that ends it for good; None while there is hope."""
        self.done = False
        self._not_before = 0.0

    def poll(self, on_failure: Callable[[int, str], None]) -> None:
        """Start, watch, restart. Call it from the main thread, again and again."""
        if self.done or self.failed is not None or time.monotonic() < self._not_before:
            return
        if self._child is None:
            self._child = spawn(
                self.name,
                [*self._command, "--task", str(self._file)],
                directory=self._directory,
                log=self._log,
                environment=self._environment,
            )
            return
        code = self._child.poll()
        if code is None:
            return
        child, self._child = self._child, None
        if code == ExitCode.OK:
            self.done = True
            return
        retry = code < 0 or code in RETRYABLE
        if retry and self.restarts < MAX_RESTARTS:
            self.restarts += 1
            self._not_before = time.monotonic() + min(30.0, 0.5 * 2**self.restarts)
            log.warning("%s ended with %d; restart %d", self.name, code, self.restarts)
            return
        self.failed = code
        on_failure(code, child.tail())

    def stop(self) -> None:
        """End the process; a later Workload of the same folder resumes from its checkpoints."""
        if self._child is not None:
            self._child.stop()
            self._child = None
