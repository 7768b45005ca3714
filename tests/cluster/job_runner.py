"""Runs the Jobs of a cluster that has no node: as processes of this machine, with what their pods would see.

It stands in for kubelet and Job controller alone. The command, the environment, the token from the Secret and the
termination message are the Job's own.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedgestalt.local.jobs import JobRunner, LocalJob

from .hub import SECRET, Hub

LABEL = "batch.kubernetes.io/job-name"


class NodelessJobs:
    """A thread that works until its context ends. `ran` lists names of Jobs in the order in which they began."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._hub, self._folder = hub, folder
        self._runners: dict[str, JobRunner] = {}
        self._over: set[str] = set()
        self.ran: list[str] = []
        self.failure: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> NodelessJobs:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        # A child belongs to the thread that made it, and this one ends them.
        try:
            while not self._stopped.wait(0.1):
                for job in self._hub.server.call("GET", self._jobs())["items"]:
                    self._look_at(job)
        except BaseException as error:
            self.failure = error
        finally:
            for runner in self._runners.values():
                runner.stop()

    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self._hub.namespace}/jobs"

    def _look_at(self, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        if name in self._over:
            return
        if name not in self._runners:
            self._runners[name] = JobRunner(self._folder / name, self._environment(job))
            self._runners[name].create({**job, "metadata": {"name": name}})
            self.ran.append(name)
        state = self._runners[name].get(name)
        if state.finished is not None:
            self._report(job, state)
            self._over.add(name)

    def _environment(self, job: dict[str, Any]) -> dict[str, str]:
        """What the Secret gives: the address by variables, the token of this round by the mounted file."""
        path = f"/api/v1/namespaces/{self._hub.namespace}/secrets/{SECRET}"
        data = {k: base64.b64decode(v) for k, v in self._hub.server.call("GET", path)["data"].items()}
        pod = job["spec"]["template"]["spec"]
        volume = next(v for v in pod["volumes"] if v["name"] == "exchange")
        mounted = self._folder / f"{job['metadata']['name']}.mount"
        mounted.mkdir(parents=True)
        for item in volume["secret"]["items"]:
            (mounted / item["path"]).write_bytes(data[item["key"]])
        return {
            "FEDGESTALT_EXCHANGE_URL": data["url"].decode(),
            "FEDGESTALT_HUB_KEY": data["hub-key"].decode(),
            "FEDGESTALT_EXCHANGE_CA": str(mounted / "ca.crt"),
            "FEDGESTALT_TOKEN_FILE": str(mounted / "token"),
            "OPENBLAS_NUM_THREADS": "1",
        }

    def _report(self, job: dict[str, Any], state: LocalJob) -> None:
        """First the pod with its message, then the Job, as the controllers would."""
        namespace, name = self._hub.namespace, job["metadata"]["name"]
        good = state.phase == "Succeeded"
        template = job["spec"]["template"]["spec"]
        metadata = {"name": name, "labels": {LABEL: name}}
        self._hub.server.create(
            f"/api/v1/namespaces/{namespace}/pods", {"metadata": metadata, "spec": template}
        )
        ended = {"exitCode": 0 if good else state.exit_code or 1, "message": json.dumps(dict(state.result))}
        container = {
            "name": template["containers"][0]["name"],
            "image": "none",
            "imageID": "none",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        status = {"phase": "Succeeded" if good else "Failed", "containerStatuses": [container]}
        self._patch(f"/api/v1/namespaces/{namespace}/pods/{name}/status", {"status": status})
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        kinds = ("SuccessCriteriaMet", "Complete") if good else ("FailureTarget", "Failed")
        conditions = [{"type": k, "status": "True", "lastTransitionTime": now} for k in kinds]
        done: dict[str, Any] = {"startTime": now, "conditions": conditions, "uncountedTerminatedPods": {}}
        done |= {"succeeded": 1, "completionTime": now} if good else {"failed": 1}
        self._patch(f"{self._jobs()}/{name}/status", {"status": done})

    def _patch(self, path: str, document: dict[str, Any]) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                self._hub.server.call("PATCH", path, document)
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
