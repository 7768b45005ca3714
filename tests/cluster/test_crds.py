"""A real API server takes the CRDs, and every example under crds/examples fares there as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from fedgestalt_operator.api import API_VERSION
from fedgestalt_operator.kube.crds import load_crds, schema_of
from fedgestalt_operator.kube.documents import read_documents
from fedgestalt_operator.kube.structural import apply_defaults
from fedgestalt_operator.kube.validate import validate

from .api_server import ApiError, ApiServer
from .examples import create, files, refusal, rule_messages, update

# How the server says what the Python validator says of a schema: the cause's reason, and part of its message.
SCHEMA_ERRORS: Final = (
    (r"is missing; add it", "FieldValueRequired", "Required value"),
    (r"write one of ", "FieldValueNotSupported", "supported values: "),
    (r"stands there twice", "FieldValueDuplicate", "Duplicate value"),
    (r"write it in the form ", "FieldValueInvalid", "should match "),
    (r"is \S+; write at least ", "FieldValueInvalid", "should be greater than or equal to "),
    (r"is \S+; write at most ", "FieldValueInvalid", "should be less than or equal to "),
    (r"; list at least ", "FieldValueInvalid", "should have at least "),
    (r"; give at least ", "FieldValueInvalid", "should have at least "),
    (r"is an? \w+; write ", "FieldValueTypeInvalid", "must be of type "),
)
# What the server adds to an error of the schema.
UNCHECKED: Final = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


def assert_refused_as_promised(error: ApiError, file: Path, kind: str) -> None:
    """The server names the place and the reason that the file's header names, and nothing else.

    Only beside an error of the schema it may name broken rules too: the Python validator tries none then.
    """
    path, text = refusal(file)
    if "no known field" in text:
        unknown = text.split(" ")[0]
        assert f'unknown field "{path}.{unknown}"' in error.status["message"]
        return
    rules = rule_messages(kind)
    if text in rules:
        reason, message = "FieldValueInvalid", f": {text}"
    else:
        reason, message = next(rest for pattern, *rest in SCHEMA_ERRORS if re.search(pattern, text))
    causes = [c for c in error.status["details"]["causes"] if not c["message"].endswith(UNCHECKED)]
    promised, *others = causes
    assert (promised["field"], promised["reason"]) == ("<nil>" if path == "document" else path, reason), (
        causes
    )
    assert message in promised["message"]
    assert not others or (text not in rules and all(is_of(other, rules) for other in others)), causes


def is_of(cause: dict[str, str], rules: set[str]) -> bool:
    return any(cause["message"].endswith(f": {rule}") for rule in rules)


def parts(document: dict[str, Any]) -> dict[str, Any]:
    return {key: document[key] for key in ("spec", "status") if key in document}


def crd(server: ApiServer, kind: str) -> dict[str, Any]:
    name = load_crds()[kind]["metadata"]["name"]
    return server.call("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")


@pytest.mark.parametrize("kind", sorted(load_crds()))
def test_schema_is_structural_and_its_names_are_free(api_server, kind):
    conditions = {c["type"]: c["status"] for c in crd(api_server, kind)["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_every_kind_is_in_the_category_and_has_a_short_name_of_its_own(api_server):
    resources = api_server.call("GET", f"/apis/{API_VERSION}")["resources"]
    kinds = {r["kind"]: r for r in resources if "/" not in r["name"]}
    assert kinds.keys() == load_crds().keys()
    assert {tuple(r["categories"]) for r in kinds.values()} == {("federation",)}
    short = [name for r in kinds.values() for name in r["shortNames"]]
    assert len(set(short)) == len(short) == len(kinds)
    assert {r["name"] for r in resources if "/" in r["name"]} == {
        f"{r['name']}/status" for r in kinds.values()
    }


def objects_with_defaults(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if schema.get("type") == "object" and "default" in schema:
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from objects_with_defaults(child, f"{path}.{name}")
    if "items" in schema:
        yield from objects_with_defaults(schema["items"], f"{path}[]")


@pytest.mark.parametrize("kind", sorted(load_crds()))
def test_absent_object_means_what_an_empty_one_means(kind):
    for path, schema in objects_with_defaults(schema_of(kind), kind):
        assert apply_defaults(schema, schema["default"]) == apply_defaults(schema, {}), path


@pytest.mark.parametrize("file", files("valid"), ids=lambda f: f.stem)
def test_valid_example_is_stored_as_the_validator_defaults_it(api_server, namespace, file):
    for document in read_documents(file):
        stored = create(api_server, namespace, document)
        assert parts(stored) == parts(validate(document))


@pytest.mark.parametrize("file", files("invalid"), ids=lambda f: f.stem)
def test_invalid_example_is_refused_for_exactly_its_reason(api_server, namespace, file):
    (document,) = read_documents(file)
    with pytest.raises(ApiError) as caught:
        create(api_server, namespace, document)
    assert_refused_as_promised(caught.value, file, document["kind"])


@pytest.mark.parametrize("file", files("updates/valid"), ids=lambda f: f.stem)
def test_valid_update_is_stored_as_the_validator_defaults_it(api_server, namespace, file):
    before, after = read_documents(file)
    stored = update(api_server, create(api_server, namespace, before), after)
    assert parts(stored) == parts(validate(after, validate(before)))


@pytest.mark.parametrize("file", files("updates/invalid"), ids=lambda f: f.stem)
def test_invalid_update_is_refused_for_exactly_its_reason(api_server, namespace, file):
    before, after = read_documents(file)
    stored = create(api_server, namespace, before)
    with pytest.raises(ApiError) as caught:
        update(api_server, stored, after)
    assert_refused_as_promised(caught.value, file, after["kind"])
