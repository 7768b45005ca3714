"""SiloTask: what the hub asks of one silo. Declarative: never a pod spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from . import API_VERSION
from .meta import Metadata, expect_kind, parse_metadata

KIND = "SiloTask"


class TaskKind(StrEnum):
    """What a silo is asked to do. Scoring and signing follow from the board alone."""

    ENROL = "Enrol"
    TRAIN = "Train"
    ENCODE = "Encode"


class TaskPhase(StrEnum):
    """Where a task stands at the site."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class SiloTask:
    """A SiloTask. `digest` is the computation's (64 hexadecimal digits), `attempt` the enrolment attempt."""

    metadata: Metadata
    silo: str
    kind: TaskKind
    round_uid: str
    digest: str
    attempt: int
    parameters: Mapping[str, Any]


def parse_task(document: Mapping[str, Any]) -> SiloTask:
    """Read a defaulted, validated SiloTask.

    Raises:
        ValueError: the document is of another kind.
    """
    expect_kind(document, KIND)
    spec = document["spec"]
    return SiloTask(
        metadata=parse_metadata(document),
        silo=spec["silo"],
        kind=TaskKind(spec["kind"]),
        round_uid=spec["roundUID"],
        digest=spec["digest"],
        attempt=int(spec["attempt"]),
        parameters=dict(spec.get("parameters", {})),
    )


def task_document(task: SiloTask) -> dict[str, Any]:
    """The resource document of a task that is to be created."""
    meta: dict[str, Any] = {"name": task.metadata.name, "labels": dict(task.metadata.labels)}
    if task.metadata.namespace:
        meta["namespace"] = task.metadata.namespace
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": meta,
        "spec": {
            "silo": task.silo,
            "kind": task.kind.value,
            "roundUID": task.round_uid,
            "digest": task.digest,
            "attempt": task.attempt,
            "parameters": dict(task.parameters),
        },
    }
