"""What of the exchange stands in the site's cluster: pure, from what lies here and there to what is to be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..api import API_VERSION, GROUP, release, task
from ..api.task import TaskPhase
from ..kube.labels import KIND, MANAGER, ROUND_UID, SILO
from ..kube.port import Document
from ..plan.handover import report_of, settled
from .exchange import GivenRelease, GivenTask

HUB: Final = f"{GROUP}/hub"
_LABEL_DIGITS: Final = 32


def hub_label(fingerprint: str) -> dict[str, str]:
    """The label of everything that the hub with this fingerprint (64 hexadecimal digits) gave: its first half, since
    a label's value holds no more than 63 characters.
    """
    return {HUB: fingerprint[:_LABEL_DIGITS]}


def is_mirrored(document: Document) -> bool:
    """Whether some hub gave it: what else lies in the namespace is none of the link's business."""
    return HUB in document["metadata"].get("labels", {})


@dataclass(frozen=True, slots=True)
class Mirroring:
    """Documents to create, and SiloTasks to delete, by name and uid."""

    create: tuple[Document, ...]
    delete: tuple[tuple[str, str], ...]


def mirror_tasks(
    given: Sequence[GivenTask], local: Iterable[Document], *, namespace: str, silo: str, hub: str
) -> Mirroring:
    """Local SiloTasks as the hub wants them.

    A task that this site has told to be over is never created again, whoever deleted it here. One that the hub took back
    goes; one of another hub or nobody's stays.

    Args:
        local: SiloTasks of the namespace that carry this hub's label.
        silo: the site's own name: tasks of others are none of its business.
        hub: fingerprint of the hub's signing key, 64 hexadecimal digits.
    """
    here = {document["metadata"]["name"]: document["metadata"]["uid"] for document in local}
    wanted = [one for one in given if one.spec.get("silo") == silo]
    create = tuple(
        _document(task.KIND, one.name, one.spec, namespace, {**hub_label(hub), **_task_labels(one.spec)})
        for one in wanted
        if one.name not in here and not settled(one.status)
    )
    gone = here.keys() - {one.name for one in given}
    return Mirroring(create, tuple((name, here[name]) for name in sorted(gone)))


def mirror_releases(
    given: Sequence[GivenRelease], local: Iterable[Document], *, namespace: str, hub: str
) -> tuple[Document, ...]:
    """Releases to create. None is ever deleted: what a hospital may go on to serve is not for a hub to take away."""
    here = {document["metadata"]["name"] for document in local}
    labels = hub_label(hub)
    return tuple(
        _document(release.KIND, one.name, one.spec, namespace, labels)
        for one in given
        if one.name not in here
    )


def reports(
    local: Iterable[Document], known: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[str, dict[str, Any]], ...]:
    """What to tell the hub: status of tasks that the exchange has otherwise.

    Args:
        known: by name, what the exchange has of the tasks that it has at all.
    """
    found = []
    for document in local:
        name, status = document["metadata"]["name"], document.get("status", {})
        if status.get("phase") and name in known:
            report = report_of(status)
            if report != known[name] and not _unsaid(report, known[name]):
                found.append((name, report))
    return tuple(found)


def _unsaid(report: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """A task that waits for nothing in particular, as each one does before anybody looked at it: no word that should
    take another one back.
    """
    return (
        report.get("phase") == TaskPhase.PENDING
        and "reason" not in report
        and known.get("phase") != TaskPhase.PENDING
    )


def _task_labels(spec: Mapping[str, Any]) -> dict[str, str]:
    named = {ROUND_UID: spec.get("roundUID"), SILO: spec.get("silo"), KIND: spec.get("kind")}
    found = {label: value for label, value in named.items() if isinstance(value, str)}
    return {"app.kubernetes.io/managed-by": MANAGER, **found}


def _document(
    kind: str, name: str, spec: Mapping[str, Any], namespace: str, labels: Mapping[str, str]
) -> Document:
    metadata: dict[str, Any] = {"name": name, "labels": dict(labels)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}
