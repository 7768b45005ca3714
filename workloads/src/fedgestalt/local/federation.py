"""A federation on one machine: the exchange, the silos' agents and the hub's loop, from a FederationRound to its end."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fedgestalt.evaluation import EvaluationTable
from fedgestalt.exchange.chain import FileChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import UnreachableError
from fedgestalt.exchange.tokens import JOB_LIFETIME, KeyCredential, Role, mint
from fedgestalt.files import private_directory, write_atomic
from fedgestalt.local.exchange import ExchangeStartError, LocalExchange
from fedgestalt.local.hub import Hub
from fedgestalt.local.jobs import JobRunner
from fedgestalt.local.setup import Layout, load_or_make_identity, make_site, seed_bytes
from fedgestalt.processes import Child, spawn
from fedgestalt.secagg.messages import HUB
from fedgestalt_operator.api.round import FederationRound, parse_round
from fedgestalt_operator.hub.ports import ExchangeUnavailable
from fedgestalt_operator.plan.types import Plan, PublishRelease

log = logging.getLogger(__name__)

MAX_AGENT_RESTARTS = 20
LINGER_SECONDS = 60.0
PUBLISH_SECONDS = 300.0
# One call of the hub must not outlast the moment at which a dead exchange is seen and started again.
CALL_SECONDS = 5.0
UNREACHABLE_SECONDS = 120.0
TERMINAL = ("Succeeded", "Failed")


class FederationError(Exception):
    """The federation on this machine cannot go on; the message says why and where the log lies."""


@dataclass(frozen=True)
class Outcome:
    """How a round ended."""

    uid: str
    phase: str
    status: Mapping[str, Any]
    score: Mapping[str, Any] | None
    """The federation's macro table as the silos state it: ``table`` (``EvaluationTable.to_json``), ``replicates``."""
    manifest: Mapping[str, Any] | None
    wall_seconds: float

    @property
    def table(self) -> EvaluationTable | None:
        """The table, with its bootstrap replicates where they were stated; None if the round came not so far."""
        if self.score is None:
            return None
        table = EvaluationTable.from_json(self.score["table"])
        stated = self.score.get("replicates")
        if stated is None:
            return table
        replicates = np.array(stated, dtype=np.float64)
        replicates[replicates < 0] = np.nan
        return EvaluationTable(table.values, table.lower, table.upper, replicates)


class LocalFederation:
    """Runs one round in a work directory; resumes it if the directory holds an unfinished one."""

    def __init__(
        self,
        document: Mapping[str, Any],
        *,
        workdir: Path,
        cohorts: Mapping[str, Path],
        vocabulary: bytes,
        seed: int | None = None,
        workload: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            document: a validated, defaulted FederationRound.
            workdir: where hub and silos live; private.
            cohorts: silo name -> folder of its photos.
            vocabulary: the JSON whose digest the document names.
            seed: fixes the site secrets, so that a run repeats; None for random ones.
            workload: command of the sites' trainer and encoder, where it is not this installation's.
        """
        self._workload = workload
        self._layout = Layout(workdir.resolve())
        self._document = document
        self._cohorts, self._vocabulary, self._seed = dict(cohorts), vocabulary, seed
        self._children: dict[str, Child] = {}
        self._restarts: dict[str, int] = {}
        private_directory(self._layout.root)
        self._stored = self._load_round()
        self.round: FederationRound = parse_round(self._stored)

    # ------------------------------------------------------------------ set-up

    def _load_round(self) -> dict[str, Any]:
        """The document with the server's fields (uid, creation time), made once per work directory."""
        path = self._layout.hub / "rounds" / f"{self._document['metadata']['name']}.json"
        if not path.exists():
            fresh = json.loads(json.dumps(self._document))
            fresh["metadata"].setdefault("generation", 1)
            fresh["metadata"]["uid"] = str(
                uuid.UUID(bytes=seed_bytes(f"round uid {path.stem}", self._seed)[:16], version=4)
            )
            fresh["metadata"]["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            write_atomic(path, json.dumps(fresh, indent=2).encode())
        stored: dict[str, Any] = json.loads(path.read_text())
        if stored["spec"] != self._document["spec"]:
            raise FederationError(
                f"{self._layout.root} holds a round {path.stem} with another spec. "
                "Give the new round another metadata.name, or another --workdir."
            )
        return stored

    def _set_up(self) -> None:
        layout = self._layout
        private_directory(layout.hub)
        self._exchange = LocalExchange(layout, self._seed)
        self._hub_key, self._tls = self._exchange.key, self._exchange.tls
        self._identities = {
            name: load_or_make_identity(layout.silo(name) / "identity.pem", name, self._seed).public
            for name in self.round.silos
        }
        self._exchange.register()

    def _start_exchange(self) -> str:
        try:
            self._children["exchange"] = self._exchange.start()
        except ExchangeStartError as error:
            raise FederationError(str(error)) from error
        return self._exchange.url

    def _start_agent(self, name: str) -> None:
        self._children[name] = spawn(
            name,
            ["fedgestalt", "silo", "agent", "--site", str(self._layout.silo(name) / "site.json")],
            directory=self._layout.silo(name),
            log=self._layout.logs / f"{name}.log",
            environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    # ------------------------------------------------------------------ the run

    def run(self, on_status: Callable[[Mapping[str, Any]], None] = lambda _: None) -> Outcome:
        """Drive the round to its end.

        Raises:
            FederationError: a process of the federation does not stay up.
        """
        started = time.time()
        self._set_up()
        layout = self._layout
        url = self._start_exchange()
        token = layout.hub / "job.token"
        environment = {
            "FEDGESTALT_EXCHANGE_URL": url,
            "FEDGESTALT_EXCHANGE_CA": str(self._tls.ca),
            "FEDGESTALT_TOKEN_FILE": str(token),
            "FEDGESTALT_HUB_KEY": self._hub_key.public.hex(),
            "OPENBLAS_NUM_THREADS": "1",
        }
        jobs = JobRunner(layout.jobs, environment)
        client = BoardClient(
            url,
            self._tls.ca,
            KeyCredential(self._hub_key, Role.HUB, HUB, self._hub_key.public),
            name=HUB,
            hub_key=self._hub_key.public,
            state=FileChainState(layout.hub / "chain"),
            deadline=CALL_SECONDS,
        )
        credential = KeyCredential(self._hub_key, Role.HUB, HUB, self._hub_key.public)
        # Looking for clusters among thousands of undiagnosed cases takes seconds, and nothing else waits by then.
        epochs = EpochClient(url, self._tls.ca, credential, deadline=PUBLISH_SECONDS)
        hub = Hub(
            self._stored,
            client=client,
            epochs=epochs,
            key=self._hub_key,
            jobs=jobs,
            silos=self._identities,
            vocabulary=self._vocabulary,
            directory=layout.hub,
        )
        for name in self.round.silos:
            make_site(
                layout,
                name,
                cohort=self._cohorts[name],
                dataset=self.round.spec["dataset"],
                hub_key=self._hub_key.public,
                identities=self._identities,
                exchange_url=url,
                ca_file=self._tls.ca,
                min_silos=self.round.quorum.min_silos,
                operation=self.round.operation.value,
                purpose=self.round.spec["purpose"],
                seed=self._seed,
                workload=self._workload,
            )
            self._start_agent(name)
        token_until = 0.0
        reached = time.monotonic()
        try:
            while True:
                if time.time() > token_until:
                    write_atomic(token, self._job_token().encode())
                    token_until = time.time() + JOB_LIFETIME / 2
                try:
                    answer = hub.step()
                    on_status(answer.status)
                    if (
                        answer.status.get("phase") in TERMINAL
                        and not answer.decisions
                        and not _publishing(answer)
                    ):
                        break
                    self._keep_alive()
                    hub.wait(answer)
                    reached = time.monotonic()
                except (UnreachableError, ExchangeUnavailable):
                    # The exchange may have died in the middle of the call: see whether it must be started again.
                    if time.monotonic() - reached > UNREACHABLE_SECONDS:
                        raise
                    self._keep_alive()
            self._linger(answer.status.get("roster", ()))
            return self._outcome(hub, time.time() - started)
        finally:
            jobs.stop()
            client.close()
            epochs.close()
            self.stop()

    def _job_token(self) -> str:
        key, uid = self._hub_key, self.round.metadata.uid
        return mint(key, role=Role.JOB, name=HUB, hub_key=key.public, round_uid=uid, lifetime=JOB_LIFETIME)

    def _keep_alive(self) -> None:
        """Start again what died: a silo's agent and the exchange resume from their folders."""
        for name, child in list(self._children.items()):
            if child.poll() is None:
                continue
            self._restarts[name] = self._restarts.get(name, 0) + 1
            if self._restarts[name] > MAX_AGENT_RESTARTS:
                raise FederationError(
                    f"{name} ended {self._restarts[name]} times; its log ends with:\n{child.tail()}"
                )
            log.warning("%s ended with %s; starting it again", name, child.poll())
            if name == "exchange":
                self._start_exchange()
            else:
                self._start_agent(name)

    def _linger(self, roster: Sequence[str]) -> None:
        """Leave the agents that are up the time to see the end, keep the release and forget the round's secrets."""
        until, folder = time.monotonic() + LINGER_SECONDS, self.round.metadata.uid[:8]
        for name in roster:
            finished, child = self._layout.silo(name) / "work" / folder / "finished", self._children.get(name)
            while child is not None and child.poll() is None and time.monotonic() < until:
                if finished.exists():
                    break
                time.sleep(0.1)

    def stop(self) -> None:
        """End all processes: the agents together, then the exchange that they speak with."""
        agents = [child for name, child in self._children.items() if name != "exchange"]
        for child in agents:
            if child.poll() is None:
                child.process.terminate()
        for child in agents:
            child.stop()
        if "exchange" in self._children:
            self._children["exchange"].stop()

    def kill(self, name: str) -> None:
        """SIGKILL one process of the federation, as a crash would (for tests)."""
        self._children[name].kill()

    def _outcome(self, hub: Hub, seconds: float) -> Outcome:
        return Outcome(
            self.round.metadata.uid,
            str(hub.status.get("phase")),
            hub.status,
            hub.score(),
            hub.manifest(),
            seconds,
        )


def _publishing(answer: Plan) -> bool:
    return any(isinstance(action, PublishRelease) for action in answer.actions)
