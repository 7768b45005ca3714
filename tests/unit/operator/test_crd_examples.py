"""Every example under crds/examples is accepted or refused as it says, and every rule has one of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedgestalt_operator.kube import rules
from fedgestalt_operator.kube.crds import crd_folder, load_crds, schema_of
from fedgestalt_operator.kube.documents import read_documents
from fedgestalt_operator.kube.validate import InvalidDocumentError, validate, validate_file

EXAMPLES = crd_folder() / "examples"


def files(folder: str) -> list[Path]:
    found = sorted((EXAMPLES / folder).glob("*.yaml"))
    assert found, f"no examples in {folder}"
    return found


def refusal(file: Path) -> str:
    """The error that a file's header promises."""
    lines = file.read_text().splitlines()
    return next(line.removeprefix("# Refused: ") for line in lines if line.startswith("# Refused: "))


def update(file: Path) -> dict[str, Any]:
    before, after = read_documents(file)
    return validate(after, validate(before))


def all_rules() -> dict[tuple[int, str], str]:
    """Every rule at its place: the same text at two fields is two rules."""
    found: dict[tuple[int, str], str] = {}

    def walk(schema: dict[str, Any], path: str) -> None:
        found.update(
            {
                (id(schema), r["rule"]): f"{path}: {r['message']}"
                for r in schema.get("x-kubernetes-validations", ())
            }
        )
        for name, child in schema.get("properties", {}).items():
            walk(child, f"{path}.{name}")
        if "items" in schema:
            walk(schema["items"], f"{path}[]")

    for kind in load_crds():
        walk(schema_of(kind), kind)
    return found


@pytest.mark.parametrize("file", files("valid"), ids=lambda f: f.stem)
def test_valid_example_is_accepted(file):
    validate_file(file)


@pytest.mark.parametrize("file", files("invalid"), ids=lambda f: f.stem)
def test_invalid_example_is_refused_with_exactly_its_error(file):
    with pytest.raises(InvalidDocumentError) as caught:
        validate_file(file)
    assert str(caught.value) == f"{file}: {refusal(file)}"


@pytest.mark.parametrize("file", files("updates/valid"), ids=lambda f: f.stem)
def test_valid_update_is_accepted(file):
    update(file)


@pytest.mark.parametrize("file", files("updates/invalid"), ids=lambda f: f.stem)
def test_invalid_update_is_refused_with_exactly_its_error(file):
    with pytest.raises(InvalidDocumentError) as caught:
        update(file)
    assert str(caught.value) == f"document: {refusal(file)}"


def test_every_rule_has_an_example_that_keeps_it_and_one_that_breaks_it(monkeypatch):
    seen: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
    judge = rules._holds

    def record(rule: str, schema: dict[str, Any], *rest: Any) -> bool:
        verdict = judge(rule, schema, *rest)
        seen[verdict].add((id(schema), rule))
        return verdict

    def missing(verdict: bool) -> list[str]:
        return [place for rule, place in all_rules().items() if rule not in seen[verdict]]

    monkeypatch.setattr(rules, "_holds", record)
    for file in files("valid"):
        validate_file(file)
    for file in files("updates/valid"):
        update(file)
    assert missing(True) == [], "rules without an accepted example"
    for file in files("invalid"):
        with pytest.raises(InvalidDocumentError):
            validate_file(file)
    for file in files("updates/invalid"):
        with pytest.raises(InvalidDocumentError):
            update(file)
    assert missing(False) == [], "rules without a refused example"
