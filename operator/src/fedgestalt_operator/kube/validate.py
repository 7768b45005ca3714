"""Validating resource documents as the API server would, before or without one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..api import API_VERSION
from .crds import load_crds, schema_of
from .documents import read_documents
from .rules import rule_problems
from .structural import Problem, apply_defaults, join, schema_problems

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class InvalidDocumentError(ValueError):
    """A document that the API server would refuse. `problems` lists everything that is wrong with it."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = tuple(problems)


def validate(
    document: Mapping[str, Any], old: Mapping[str, Any] | None = None, *, source: str = "document"
) -> dict[str, Any]:
    """The document with its defaults, checked against its CRD: schema first, then rules.

    Args:
        document: a resource as it was written.
        old: the stored resource that it replaces, for the rules on changes; None for a creation.
        source: what errors name, such as the file.

    Raises:
        InvalidDocumentError: listing every problem as `source: path: what; how to mend it`.
    """
    kinds = load_crds()
    if document.get("apiVersion") != API_VERSION or document.get("kind") not in kinds:
        raise InvalidDocumentError(
            source,
            [
                Problem(
                    "apiVersion, kind",
                    f"are {document.get('apiVersion')!r}, {document.get('kind')!r}",
                    f"write {API_VERSION} and one of {', '.join(sorted(kinds))}",
                )
            ],
        )
    schema = schema_of(str(document["kind"]))
    defaulted = with_defaults(document)
    problems = _metadata_problems(defaulted) + schema_problems(schema, defaulted)
    if not problems:
        problems = rule_problems(schema, defaulted, old)
    if problems:
        raise InvalidDocumentError(source, problems)
    return defaulted


def with_defaults(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a document of one of our kinds with its defaults, unchecked: as the API server reads a stored one."""
    defaulted: dict[str, Any] = apply_defaults(schema_of(str(document["kind"])), dict(document))
    return defaulted


def validate_status(
    kind: str, status: Mapping[str, Any], old: Mapping[str, Any] | None, *, source: str
) -> dict[str, Any]:
    """A status with its defaults, checked like `validate`, when nothing else of the document changes.

    Raises:
        InvalidDocumentError: listing every problem.
    """
    schema = schema_of(kind)["properties"]["status"]
    defaulted = apply_defaults(schema, dict(status))
    problems = schema_problems(schema, defaulted)
    if not problems:
        problems = rule_problems(schema, defaulted, old)
    if problems:
        moved = [
            Problem(join("status", p.path) if p.path != "document" else "status", p.what, p.fix)
            for p in problems
        ]
        raise InvalidDocumentError(source, moved)
    checked: dict[str, Any] = defaulted
    return checked


def validate_file(path: Path) -> list[dict[str, Any]]:
    """All documents of a file, defaulted and checked.

    Raises:
        DocumentError: the file cannot be read as YAML documents.
        InvalidDocumentError: listing the problems of all its documents.
    """
    documents = read_documents(path)
    checked: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for place, document in enumerate(documents):
        try:
            checked.append(validate(document))
        except InvalidDocumentError as error:
            prefix = f"document {place + 1}: " if len(documents) > 1 else ""
            problems.extend(Problem(prefix + p.path, p.what, p.fix) for p in error.problems)
    if problems:
        raise InvalidDocumentError(str(path), problems)
    return checked


def _metadata_problems(document: Mapping[str, Any]) -> list[Problem]:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return [Problem("metadata", "is missing or no object", "write metadata with a name")]
    name = metadata.get("name")
    if not isinstance(name, str) or len(name) > 253 or not _NAME.fullmatch(name):
        return [Problem("metadata.name", "is missing or no DNS name", "use a-z, 0-9, '-' and '.'")]
    return []
