"""The trainer and the encoder of one round at one site: their tasks, their link to the agent, how far they are."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedgestalt.crypto.encoding import encode as canonical
from fedgestalt.files import private_directory
from fedgestalt.secagg.messages import FaultReason
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.handler import Handler
from fedgestalt.silo.part import RoundPart
from fedgestalt.silo.results import Results
from fedgestalt.silo.trainer import Workload
from fedgestalt.silo.withdrawal import withdrawn_photos
from fedgestalt.training.endpoint import TrainerEndpoint
from fedgestalt.training.exit_codes import ExitCode

log = logging.getLogger(__name__)

_FAULT_OF_EXIT: Mapping[int, FaultReason] = {
    ExitCode.WEIGHTS_MISSING: FaultReason.INITIAL_WEIGHTS_MISSING,
    ExitCode.BAD_DATA: FaultReason.DATA_INVALID,
    ExitCode.NON_FINITE: FaultReason.NON_FINITE,
    ExitCode.BOUND_EXCEEDED: FaultReason.BOUND_EXCEEDED,
}
_OF_TASK = {"Train": "train", "Encode": "encode"}


class Workloads:
    """Starts what the hub's tasks ask for, watches it, and says what became of it."""

    def __init__(
        self,
        site: SiteConfig,
        part: RoundPart,
        results: Results,
        *,
        spec: Mapping[str, Any],
        vocabulary: Mapping[str, Sequence[str]],
        start: Path | None,
        directory: Path,
    ) -> None:
        """``start`` is the bundle that training continues; ``directory`` the round's private folder."""
        self._site, self._part, self._results = site, part, results
        self._spec, self._vocabulary, self._bundle = spec, vocabulary, start
        self._directory = directory
        self._endpoint: TrainerEndpoint | None = None
        self._workloads: dict[str, Workload] = {}
        self.progress: tuple[float, str] = (0.0, "")

    def start(self, task: str) -> None:
        """Start the workload of a task (``Train``, ``Encode``), once."""
        name = _OF_TASK[task]
        if name in self._workloads:
            return
        socket = self._directory / "link.sock"  # one a round: several may run at once
        if self._endpoint is None:
            handler = Handler(self._part, self._results.rows, self._progressed)
            self._endpoint = TrainerEndpoint(socket, handler)
            self._endpoint.start()
        session = self._part.session
        content = {
            "training": self._spec["training"],
            "cohort": str(self._site.datasets[self._spec["dataset"]]),
            "vocabulary": dict(self._vocabulary),
            "socket": str(socket),
            "seedFile": str(self._site.seed_file),
            "roster": hashlib.sha256(canonical(list(session.roster))).hexdigest(),
            "publicSeed": session.computation.digest.hex(),
            "cache": str(self._site.work / "faces"),
            "work": str(self._directory / name),
            "bundle": str(self._results.bundle),
            "excluded": sorted(withdrawn_photos(self._site)),
            "start": None if self._bundle is None else str(self._bundle),
        }
        self._workloads[name] = Workload(
            name,
            content,
            command=self._site.workload,
            directory=private_directory(self._directory / name),
            logs=self._directory / "logs",
            threads=self._spec["training"]["resources"].get("threads", 1),
        )

    def poll(self) -> None:
        """Watch the processes; call it from the thread that starts them."""
        for workload in self._workloads.values():
            workload.poll(self._failed)

    def status(self, task: str) -> dict[str, Any]:
        """What the hub may know of a task."""
        workload, (fraction, message) = self._workloads.get(_OF_TASK.get(task, "")), self.progress
        if workload is None:
            return {"phase": "Pending", "fraction": 0.0, "message": ""}
        if workload.failed is not None:
            return {"phase": "Failed", "fraction": fraction, "message": f"exit code {workload.failed}"}
        if workload.done:
            return {"phase": "Succeeded", "fraction": 1.0, "message": ""}
        return {"phase": "Running", "fraction": round(fraction, 2), "message": message}

    def finish(self, *, released: bool) -> None:
        """The round is over: free the link for the next one, and end what still runs.

        A release shows that this silo's part was done, whether or not its process has ended by now.
        """
        for workload in self._workloads.values():
            workload.stop()
            workload.done = workload.done or (released and workload.failed is None)
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    def stop(self) -> None:
        """End the processes and the link; everything goes on after a restart."""
        for workload in self._workloads.values():
            workload.stop()
        if self._endpoint is not None:
            self._endpoint.close()

    def _failed(self, code: int, tail: str) -> None:
        log.error("a workload failed with exit code %d:\n%s", code, tail)
        reason = _FAULT_OF_EXIT.get(code, FaultReason.TRAINER_FAILED)
        self._part.fault(reason, f"workload ended with exit code {code}")

    def _progressed(self, fraction: float, message: str) -> None:
        self.progress = (fraction, message)
