"""Reading the release folder's documents: size limits first, then a schema, errors that name file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

MAX_BYTES: Final = 16 << 20
_HEX32: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_CURIES: Final = {"type": "array", "maxItems": 65_536, "items": {"type": "string", "maxLength": 100}}

RELEASE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["digest", "epoch", "name", "silo", "hubKey"],
    "properties": {
        "digest": _HEX32,
        "epoch": _HEX32,
        "name": {"type": "string", "maxLength": 253},
        "silo": {"type": "string", "maxLength": 63},
        "hubKey": _HEX32,
    },
}
KEYS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["frame", "token", "width"],
    "properties": {"frame": _HEX32, "token": _HEX32, "width": {"type": ["integer", "null"], "minimum": 1}},
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


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """A file's bytes.

    Raises:
        ReleaseError: absent, unreadable or larger than ``limit`` bytes.
    """
    try:
        if path.stat().st_size > limit:
            raise ReleaseError(f"{path}: larger than {limit} bytes: not a file of a release")
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
