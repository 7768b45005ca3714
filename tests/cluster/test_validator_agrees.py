"""The Python validator and the API server judge alike: examples with one thing changed, thousands of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from fedgestalt_operator.kube.documents import read_documents
from fedgestalt_operator.kube.validate import InvalidDocumentError, validate

from .api_server import ApiError, ApiServer
from .examples import files, resource_path

Place = tuple[str | int, ...]
# Between them they use every field of every spec.
RICH: Final = [
    file
    for file in files("valid")
    if file.stem
    in (
        "endpoint-automatic",
        "grant-bounded",
        "grant-image-signer",
        "release-adopt",
        "round-fedadam",
        "round-fedavgm",
        "round-fedprox",
        "round-selector",
        "round-train",
        "silo",
        "silotask",
    )
]
ODD_VALUES: Final = (
    None,
    True,
    0,
    -1,
    2,
    1.0,
    0.5,
    1 << 40,
    "",
    "a",
    "A-b",
    "7",
    "x" * 300,
    "2027-01-31T00:00:00Z",
    "2027-01-31t00:00:00.5+01:00",
    "2027-02-30T00:00:00Z",
    [],
    ["a"],
    {},
    {"a": "b"},
)


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """Every place in a document below its root."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, child in children:
        yield (*path, step)
        yield from places(child, (*path, step))


def changed(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document with one thing replaced, removed, added or repeated, and what that was."""

    def at(path: Place) -> tuple[dict[str, Any], Any]:
        result = copy.deepcopy(document)
        parent: Any = result
        for step in path[:-1]:
            parent = parent[step]
        return result, parent

    for path in [p for p in places(document) if p[0] == "spec"]:
        where = ".".join(map(str, path))
        for odd in ODD_VALUES:
            result, parent = at(path)
            parent[path[-1]] = copy.deepcopy(odd)
            yield f"{where} = {odd!r}"[:120], result
        result, parent = at(path)
        del parent[path[-1]]
        yield f"{where} removed", result
        result, parent = at(path)
        if isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
            yield f"{where} repeated", result
        if isinstance(parent[path[-1]], dict):
            parent[path[-1]]["surplus"] = 1
            yield f"{where}.surplus added", result


def verdict_of_validator(document: dict[str, Any]) -> dict[str, Any] | str:
    try:
        return validate(document)["spec"]
    except InvalidDocumentError as error:
        return str(error)


def verdict_of_server(server: ApiServer, path: str, document: dict[str, Any]) -> dict[str, Any] | str:
    try:
        stored = server.call("POST", path, document, dryRun="All", fieldValidation="Strict")
    except ApiError as error:
        return str(error)
    return stored["spec"]


@pytest.mark.parametrize("file", RICH, ids=lambda f: f.stem)
def test_changed_examples_are_judged_alike(api_server: ApiServer, namespace: str, file: Path) -> None:
    (document,) = read_documents(file)
    document.pop("status", None)
    path = resource_path(document["kind"], namespace)
    wrong = []
    for what, variant in changed(document):
        ours, theirs = verdict_of_validator(variant), verdict_of_server(api_server, path, variant)
        same = isinstance(ours, str) == isinstance(theirs, str) and (isinstance(ours, str) or ours == theirs)
        if not same:
            wrong.append(f"{what}\n  ours: {str(ours)[:300]}\n  theirs: {str(theirs)[:300]}")
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong)
