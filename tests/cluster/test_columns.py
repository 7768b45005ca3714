"""What `kubectl get` shows: the columns of design, filled from a status as the operator writes it."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from typing import Any, Final

import pytest

from fedgestalt_operator.kube.documents import read_documents

from .api_server import ApiServer
from .examples import EXAMPLES, create, files, resource_path

SILO_CONDITION: Final = {"type": "Ready", "status": "False", "reason": "LinkLost", "observedGeneration": 1}


def example(name: str, status: dict[str, Any]) -> dict[str, Any]:
    (document,) = read_documents(EXAMPLES / "valid" / f"{name}.yaml")
    return {**document, "status": status}


def minutes_ago(minutes: int) -> str:
    then = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=minutes)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


def row(server: ApiServer, namespace: str, kind: str) -> dict[str, Any]:
    """The columns of the only object of a kind, without those that only `-o wide` shows."""
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = server.call("GET", resource_path(kind, namespace), accept=accept)
    (cells,) = (row["cells"] for row in table["rows"])
    columns = table["columnDefinitions"]
    return {c["name"].upper(): cell for c, cell in zip(columns, cells, strict=True) if not c["priority"]}


def test_round_says_what_it_waits_for_and_until_when(api_server, namespace):
    """Lesson 12: a status that says nothing. One line of kubectl tells whose move it is, and until when."""
    summary = {
        "silos": "4/4",
        "need": "3",
        "progress": "r50 3/10",
        "waiting": "west: upload t=3",
        "until": "14:32Z",
    }
    create(api_server, namespace, example("round-train", {"phase": "Training", "summary": summary}))
    shown = row(api_server, namespace, "FederationRound")
    assert re.fullmatch(r"\d+s", shown.pop("AGE"))
    assert list(shown.items()) == [
        ("NAME", "gm-2026-09"),
        ("OP", "Train"),
        ("PHASE", "Training"),
        ("SILOS", "4/4"),
        ("NEED", "3"),
        ("PROGRESS", "r50 3/10"),
        ("WAITING", "west: upload t=3"),
        ("UNTIL", "14:32Z"),
    ]


def test_silo_says_since_when_it_is_lost(api_server, namespace):
    condition = {**SILO_CONDITION, "lastTransitionTime": minutes_ago(30)}
    create(
        api_server, namespace, example("silo", {"version": "0.3.0", "tasks": 1, "conditions": [condition]})
    )
    shown = row(api_server, namespace, "Silo")
    assert re.fullmatch(r"\d+s", shown.pop("AGE"))
    assert list(shown.items()) == [
        ("NAME", "west"),
        ("READY", "False"),
        ("REASON", "LinkLost"),
        ("SINCE", "30m"),
        ("VERSION", "0.3.0"),
        ("TASKS", 1),
    ]


def test_task_says_whose_it_is_and_how_far(api_server, namespace):
    link = {
        "type": "Connected",
        "status": "False",
        "reason": "LinkLost",
        "lastTransitionTime": minutes_ago(30),
    }
    status = {"phase": "Running", "reason": "Started", "percent": 35, "conditions": [link]}
    create(api_server, namespace, example("silotask", status))
    shown = row(api_server, namespace, "SiloTask")
    assert re.fullmatch(r"\d+s", shown.pop("AGE"))
    assert list(shown.items()) == [
        ("NAME", "fg-5f0c2d7e-train-west-1"),
        ("SILO", "west"),
        ("KIND", "Train"),
        ("ATTEMPT", 1),
        ("PHASE", "Running"),
        ("REASON", "Started"),
        ("PERCENT", 35),
        ("LINK", "LinkLost"),
    ]


@pytest.mark.parametrize("file", files("valid"), ids=lambda f: f.stem)
def test_columns_need_no_status(api_server, namespace, file):
    (document,) = read_documents(file)
    document.pop("status", None)
    create(api_server, namespace, document)
    shown = row(api_server, namespace, document["kind"])
    assert shown["NAME"] == document["metadata"]["name"]
    assert not [cell for cell in shown.values() if cell in ("<invalid>", "<none>", "<unknown>")]


def test_kubectl_lists_the_whole_federation_by_its_category(api_server, namespace, kube_assets):
    for name in (
        "round-train",
        "silo",
        "silotask",
        "release-train",
        "grant-minimal",
        "endpoint-minimal",
    ):
        (document,) = read_documents(EXAMPLES / "valid" / f"{name}.yaml")
        create(api_server, namespace, document)
    kubeconfig = api_server.kubeconfig(namespace=namespace)
    kubectl = [kube_assets / "kubectl", f"--kubeconfig={kubeconfig}", "get", "federation", "--output=name"]
    listed = subprocess.run(kubectl, capture_output=True, text=True, check=True, timeout=60).stdout
    assert {line.split(".")[0] for line in listed.split()} == {
        "federationround",
        "inferenceendpoint",
        "participationgrant",
        "release",
        "silo",
        "silotask",
    }
