"""The examples of crds/, and writing them to an API server as kubectl would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedgestalt_operator.api import API_VERSION
from fedgestalt_operator.kube.crds import crd_folder, load_crds, schema_of

from .api_server import ApiServer

EXAMPLES = crd_folder() / "examples"


def files(folder: str) -> list[Path]:
    """The examples of a folder under crds/examples."""
    found = sorted((EXAMPLES / folder).glob("*.yaml"))
    assert found, f"no examples in {folder}"
    return found


def refusal(file: Path) -> tuple[str, str]:
    """Where and why a file's header says that it is refused: a path and a text."""
    lines = file.read_text().splitlines()
    line = next(line for line in lines if line.startswith("# Refused: "))
    path, _, text = line.removeprefix("# Refused: ").partition(": ")
    return path, text


def rule_messages(kind: str) -> set[str]:
    """The messages of all CEL rules of a kind."""

    def walk(schema: dict[str, Any]) -> set[str]:
        found = {rule["message"] for rule in schema.get("x-kubernetes-validations", ())}
        children = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
        return found.union(*(walk(child) for child in children))

    return walk(schema_of(kind))


def resource_path(kind: str, namespace: str, name: str = "") -> str:
    """The REST path of a kind in a namespace, or of one object there."""
    plural = load_crds()[kind]["spec"]["names"]["plural"]
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/{plural}"
    return f"{path}/{name}" if name else path


def create(server: ApiServer, namespace: str, document: dict[str, Any]) -> dict[str, Any]:
    """Create an object, then write its status, if it has one; the object as it is stored. Raises ApiError."""
    path = resource_path(document["kind"], namespace)
    stored = server.call("POST", path, document, fieldValidation="Strict")
    return write_status(server, stored, document["status"]) if "status" in document else stored


def update(server: ApiServer, stored: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Replace an object, then its status, where they differ; the object as it is stored. Raises ApiError."""
    path = resource_path(stored["kind"], stored["metadata"]["namespace"], stored["metadata"]["name"])
    status = document.get("status")
    if document["spec"] != stored["spec"]:
        stored = server.call(
            "PUT", path, {**document, "metadata": stored["metadata"]}, fieldValidation="Strict"
        )
    return stored if status == stored.get("status") else write_status(server, stored, status)


def write_status(server: ApiServer, stored: dict[str, Any], status: Any) -> dict[str, Any]:
    """Replace the status of an object. Raises ApiError."""
    path = resource_path(stored["kind"], stored["metadata"]["namespace"], stored["metadata"]["name"])
    document = {**stored, "status": status}
    return server.call("PUT", f"{path}/status", document, fieldValidation="Strict")
