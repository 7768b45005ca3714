"""Why a Job's pod does not run: what scheduler and kubelet say in the pod's status, in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

MOST: Final = 140
"""Characters: a status holds it, beside the Job's name, in 256."""
NO_POD: Final = "no pod was made for it yet"
_UNTOLD: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""What every pod says first, which explains nothing while anything else does."""


def why_pending(pods: Iterable[Mapping[str, Any]]) -> str | None:
    """The reason and message of the pods of one Job that has not ended; None if one of them runs or ran.

    Brackets are left out: in a status they hold the Job's name.
    """
    statuses = [pod.get("status", {}) for pod in pods]
    if any(_begun(status) for status in statuses):
        return None
    said = [line for status in statuses for line in _said(status)]
    told = [line for reason, line in said if reason not in _UNTOLD] or [line for _, line in said]
    text = told[0] if told else ("its pod is not scheduled yet" if statuses else NO_POD)
    return re.sub(r"[()\s]+", " ", text).strip()[:MOST].rstrip()


def _begun(status: Mapping[str, Any]) -> bool:
    states = [c.get("state", {}) for c in status.get("containerStatuses", ())]
    return any("running" in state or "terminated" in state for state in states)


def _said(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(reason, line) of everything that keeps a pod from running, the cause first."""
    for condition in status.get("conditions", ()):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield _line(condition)
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind, ()):
            waiting = container.get("state", {}).get("waiting")
            if waiting:
                yield _line(waiting)
    if status.get("reason"):
        yield _line(status)


def _line(said: Mapping[str, Any]) -> tuple[str, str]:
    reason, message = str(said.get("reason") or ""), str(said.get("message") or "")
    return reason, ": ".join(part for part in (reason, message) if part)
