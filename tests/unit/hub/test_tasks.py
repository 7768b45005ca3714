"""What the hub's SiloTasks show: written where it changed, and looked at once for all."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.hub import round_document

from fedgestalt_operator.api.round import parse_round
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.hub.tasks import TaskMirror
from fedgestalt_operator.kube.errors import ClusterUnavailable
from fedgestalt_operator.kube.labels import round_labels
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.plan.types import TaskState

UID = "5f0c2d7e-0000-4000-8000-000000000000"
ROUND = parse_round(
    {**round_document("r", ["east", "west", "north"]), "metadata": {"name": "r", "uid": UID, "namespace": ""}}
)
EAST, WEST = "fg-5f0c2d7e-enrol-east-1", "fg-5f0c2d7e-enrol-west-1"


class Counting(MemoryCluster):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.lists, self.patches, self.away = 0, [], False  # type: ignore[var-annotated]

    def list(self, *args: Any, **named: Any) -> Any:
        """See `Cluster.list`."""
        if self.away:
            raise ClusterUnavailable("away")
        self.lists += 1
        return super().list(*args, **named)

    def patch_status(self, kind: str, namespace: str, name: str, *args: Any, **named: Any) -> Any:
        """See `Cluster.patch_status`."""
        self.patches.append(name)
        return super().patch_status(kind, namespace, name, *args, **named)


@pytest.fixture
def cluster() -> Counting:
    cluster = Counting()
    for name in (EAST, WEST):
        spec = {
            "silo": name.split("-")[3],
            "kind": "Enrol",
            "roundUID": UID,
            "digest": "0" * 64,
            "attempt": 1,
        }
        metadata = {"name": name, "labels": round_labels("r", UID)}
        cluster.create(
            {
                "apiVersion": "fedgestalt.org/v1alpha1",
                "kind": "SiloTask",
                "metadata": metadata,
                "spec": spec,
            }
        )
    return cluster


def phase(cluster: MemoryCluster, name: str) -> str:
    return str(cluster.get("SiloTask", "", name)["status"]["phase"])


def test_a_task_that_nobody_wrote_a_status_of_reads_as_pending(cluster: Counting) -> None:
    assert cluster.get("SiloTask", "", EAST)["status"] == {"phase": "Pending", "percent": 0}


def test_tasks_just_created_cost_neither_a_list_nor_a_write(cluster: Counting) -> None:
    mirror = TaskMirror(cluster, "")
    mirror.created(UID, [EAST, WEST])
    mirror.show(ROUND, {EAST: TaskState(TaskPhase.PENDING), WEST: TaskState(TaskPhase.PENDING)})
    assert (cluster.lists, cluster.patches) == (0, [])


def test_what_changed_is_written_once(cluster: Counting) -> None:
    mirror = TaskMirror(cluster, "")
    for _ in range(3):
        mirror.show(ROUND, {EAST: TaskState(TaskPhase.RUNNING), WEST: TaskState(TaskPhase.PENDING)})
    assert cluster.patches == [EAST]
    assert cluster.lists == 1
    assert phase(cluster, EAST) == "Running"


def test_a_deleted_status_comes_back_after_the_next_look_at_all(cluster: Counting) -> None:
    mirror = TaskMirror(cluster, "")
    said = {EAST: TaskState(TaskPhase.RUNNING, fraction=0.5)}
    mirror.show(ROUND, said)
    cluster.patch_status("SiloTask", "", EAST, {})
    mirror.look_again()
    mirror.show(ROUND, said)
    assert cluster.get("SiloTask", "", EAST)["status"] == {"phase": "Running", "percent": 50}


def test_a_late_report_does_not_undo_a_task_that_is_over(cluster: Counting) -> None:
    mirror = TaskMirror(cluster, "")
    mirror.show(ROUND, {EAST: TaskState(TaskPhase.SUCCEEDED, fraction=1.0)})
    for fresh in (mirror, TaskMirror(cluster, "")):
        fresh.show(ROUND, {EAST: TaskState(TaskPhase.RUNNING, fraction=0.5)})
    assert phase(cluster, EAST) == "Succeeded"
    assert cluster.patches == [EAST]


def test_a_task_that_somebody_deleted_stops_nobody(cluster: Counting) -> None:
    mirror = TaskMirror(cluster, "")
    mirror.show(ROUND, {EAST: TaskState(TaskPhase.PENDING)})
    cluster.delete("SiloTask", "", EAST)
    mirror.show(ROUND, {EAST: TaskState(TaskPhase.RUNNING), WEST: TaskState(TaskPhase.RUNNING)})
    assert phase(cluster, WEST) == "Running"


def test_a_look_at_all_that_failed_leaves_what_was_known(cluster: Counting) -> None:
    mirror = TaskMirror(cluster, "")
    mirror.created(UID, [EAST, WEST])
    cluster.away = True
    with pytest.raises(ClusterUnavailable):
        mirror.look_again()
    mirror.show(ROUND, {EAST: TaskState(TaskPhase.PENDING)})
    assert cluster.patches == []


def test_open_tasks_are_counted_by_silo(cluster: Counting) -> None:
    mirror = TaskMirror(cluster, "")
    mirror.show(ROUND, {EAST: TaskState(TaskPhase.SUCCEEDED), WEST: TaskState(TaskPhase.RUNNING)})
    assert mirror.open_tasks() == {"west": 1}
    mirror.forget(UID)
    assert mirror.open_tasks() == {}
