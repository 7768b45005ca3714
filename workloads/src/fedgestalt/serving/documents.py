"""Reading the release folder's documents: size limits first, then a schema, errors that name file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

_MAX_BYTES: Final = 16 << 20
_DIGEST: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_CURIES: Final = {"type": "array", "maxItems": 65_536, "items": {"type": "string", "maxLength": 100}}

# Only what the service uses: what else a manifest must hold is checked where signatures are.
MANIFEST: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["name", "operation", "parents", "computation", "epoch", "rows", "bundle"],
    "properties": {
        "name": {"type": "string", "maxLength": 253},
        "operation": {"type": "string", "maxLength": 64},
        "parents": {"type": "array", "items": _DIGEST},
        "computation": _DIGEST,
        "epoch": _DIGEST,
        "rows": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["gallery"],
                "properties": {"gallery": _COUNT},
            },
        },
        "bundle": {
            "type": "object",
            "required": ["plain"],
            "properties": {"plain": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}},
        },
    },
}
RELEASE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["digest", "epoch", "name", "silo"],
    "properties": {
        "digest": _DIGEST,
        "epoch": _DIGEST,
        "name": {"type": "string", "maxLength": 253},
        "silo": {"type": "string", "maxLength": 63},
    },
}
KEYS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["frame", "token", "width"],
    "properties": {"frame": _DIGEST, "token": _DIGEST, "width": {"type": ["integer", "null"], "minimum": 1}},
}
VOCABULARY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["trained", "rare"],
    "properties": {
        "trained": _CURIES,
        "rare": _CURIES,
        "names": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 1000}},
    },
}


class ReleaseError(Exception):
    """A release folder is incomplete, damaged or not the one it says it is; the message says what to do."""


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        ReleaseError: absent, unreadable or larger than 16 MiB.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ReleaseError(f"{path}: larger than {_MAX_BYTES} bytes: not a file of a release")
        return path.read_bytes()
    except OSError as error:
        raise ReleaseError(
            f"{path}: {error.strerror}. Give a folder below the site's releases/ that was fetched whole."
        ) from error


def parse(path: Path, data: bytes, schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON document, checked. What it holds is not repeated in errors: keys.json goes through here too.

    Raises:
        ReleaseError: not JSON, or not what the schema asks for.
    """
    try:
        document = json.loads(data)
    except ValueError:
        raise ReleaseError(f"{path}: not JSON. Fetch the release again.") from None
    errors = sorted(Draft202012Validator(schema).iter_errors(document), key=lambda e: e.json_path)
    if errors:
        found = "; ".join(f"{error.json_path} breaks {error.validator!r}" for error in errors[:5])
        raise ReleaseError(f"{path}: {found}. Fetch the release again.")
    assert isinstance(document, dict)
    return document
