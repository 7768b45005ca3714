"""A simulated Job controller: runs Jobs and their pods to an end, good or bad, and forgets what is over."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fedgestalt_operator.api.conditions import seconds, timestamp
from fedgestalt_operator.hub.jobs import JOB_NAME
from fedgestalt_operator.kube.port import Document

from ..plan.silos import digest
from .cluster import SimCluster
from .exchange import SimExchange

OK, FAIL, GARBLED, SILENT, HANG, STUCK = "ok", "fail", "garbled", "silent", "hang", "stuck"
BAD = (FAIL, FAIL, GARBLED, SILENT, HANG, STUCK)
LONGEST = 600.0
"""Seconds after which a Job that hangs is ended."""


@dataclass
class JobController:
    """`bad`: probability that a Job does not end well. `ttl`: seconds after which a finished one is deleted."""

    cluster: SimCluster
    exchange: SimExchange
    rng: random.Random
    now: Callable[[], float]
    bad: float = 0.0
    seconds: float = 4.0
    ttl: float = 86_400.0
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What Jobs that succeeded left, by name."""
    finished: dict[str, float] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Names of Jobs that somebody else deleted before they were over."""
    stuck: dict[str, float] = field(default_factory=dict)
    """Names of Jobs whose pods never begin, and when they were made."""
    _fates: dict[str, tuple[str, float]] = field(default_factory=dict)

    def step(self) -> bool:
        """Bring every Job one step further; whether anything changed."""
        before = self.cluster.version
        for job in self.cluster.seen("Job"):
            name, uid = job["metadata"]["name"], job["metadata"]["uid"]
            if uid not in self._fates:
                fate = self.rng.choice(BAD) if self.rng.random() < self.bad else OK
                takes = {HANG: LONGEST, STUCK: float("inf")}.get(fate)
                if takes is None:
                    takes = self.rng.uniform(0.5, 1.5) * self.seconds
                self._fates[uid] = (fate, self.now() + takes)
                if fate == STUCK:
                    self.stuck[name] = seconds(job["metadata"]["creationTimestamp"])
                else:
                    self.stuck.pop(name, None)
                self._start(job, fate)
            fate, due = self._fates[uid]
            if not job.get("status", {}).get("conditions"):
                if self.now() >= due:
                    self._end(job, fate)
            elif self.now() >= self.finished[name] + self.ttl:
                self.cluster.delete("Job", "", name)
        return self.cluster.version != before

    def running(self) -> list[str]:
        """Names of Jobs that are not over."""
        jobs = self.cluster.seen("Job")
        return [j["metadata"]["name"] for j in jobs if not j.get("status", {}).get("conditions")]

    def lose(self) -> None:
        """Somebody deletes a Job that runs, or a node takes the pod of one that is over with it."""
        running = self.running()
        if running:
            name = self.rng.choice(running)
            self.lost.add(name)
            self.cluster.delete("Job", "", name)

    def _start(self, job: Document, fate: str) -> None:
        meta = job["metadata"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
        labels = {**job["spec"]["template"]["metadata"]["labels"], JOB_NAME: meta["name"]}
        pod = {"name": f"{meta['name']}-x", "labels": labels, "ownerReferences": [owner]}
        self.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": pod})
        state = {"waiting": {"reason": "ErrImagePull"}} if fate == STUCK else {"running": {}}
        self.cluster.patch_status(
            "Pod", "", pod["name"], {"containerStatuses": [{"name": "x", "state": state}]}
        )

    def _end(self, job: Document, fate: str) -> None:
        name = job["metadata"]["name"]
        result = self._result(name, job) if fate == OK else None
        well = fate in (OK, GARBLED, SILENT) and (fate != OK or result is not None)
        message = {OK: json.dumps(self._left(result)), GARBLED: '{"digest": '}.get(fate, "")
        if fate != HANG:
            ended = {"exitCode": 0 if well else 1, "message": message if well else ""}
            status = {"containerStatuses": [{"name": "x", "state": {"terminated": ended}}]}
            self.cluster.patch_status("Pod", "", f"{name}-x", status)
        condition = {"type": "Complete" if well else "Failed", "status": "True"}
        condition["lastTransitionTime"] = timestamp(self.now())
        self.cluster.patch_status("Job", "", name, {"conditions": [condition]})
        self.finished[name] = self.now()
        if result is not None:
            self.results[name] = result

    def _left(self, result: dict[str, Any] | None) -> dict[str, Any] | None:
        """What stands in the termination message: for a kernel, the digest of its table."""
        if result is None or "owners" not in result:
            return result
        table = json.dumps(result).encode()
        name = hashlib.sha256(table).hexdigest()
        self.exchange.blobs[name] = table
        return {"table": name}

    def _result(self, name: str, job: Document) -> dict[str, Any] | None:
        """A function of the board alone, as every workload of the hub is; None where its inputs are gone."""
        given = job["spec"]["template"]["spec"]["containers"][0]["env"]
        env = {v["name"].removeprefix("FEDGESTALT_").lower(): v.get("value", "") for v in given}
        e = int(env["enrolment"])
        if "try" not in env:
            closed = self.exchange.hub("rows-closed", e)
            return (
                None if closed is None else {"owners": {s: digest(s, e).hex() for s in closed.body["silos"]}}
            )
        at = (e, env["member"], int(env["t"]), int(env["try"]))
        survivors = self.exchange.hub("survivors", *at)
        if survivors is None:
            return None
        masked = self.exchange.said("masked", *at)
        needed = {masked[s].body["digest"].hex() for s in survivors.body["silos"]}
        return None if needed & self.exchange.dropped else {"digest": digest("sum", at).hex()}
