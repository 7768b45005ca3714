"""The CRD files: package data when installed, the repository's `crds/` in an editable checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_PACKAGE = Path(__file__).parents[1]
_FOLDERS: Final = (_PACKAGE / "crds", _PACKAGE.parents[2] / "crds")


def crd_folder() -> Path:
    """The folder with the CRD files.

    Raises:
        FileNotFoundError: neither the installed package nor a checkout has one.
    """
    for folder in _FOLDERS:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"no CRD files in {_FOLDERS[0]} or {_FOLDERS[1]}; install the package again, or run from a checkout"
    )


@cache
def load_crds() -> dict[str, dict[str, Any]]:
    """All CRDs by kind. Treat them as read-only."""
    files = sorted(crd_folder().glob("*.yaml"))
    documents = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
    return {document["spec"]["names"]["kind"]: document for document in documents}


def schema_of(kind: str) -> dict[str, Any]:
    """The OpenAPI schema of a kind's storage version.

    Raises:
        KeyError: no CRD defines the kind.
    """
    versions = load_crds()[kind]["spec"]["versions"]
    schema: dict[str, Any] = next(v for v in versions if v["storage"])["schema"]["openAPIV3Schema"]
    return schema
