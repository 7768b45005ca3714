"""The form of a release manifest (docs/reference/release.md): a closed JSON schema with bounded sizes."""

from __future__ import annotations

from typing import Any, Final

# Patterns end in \Z, for Python's $ lets a line end through.
_HEX: Final = {"type": "string", "pattern": r"^[0-9a-f]{64}\Z"}
_SILO: Final = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z"}
_SILOS: Final = {"type": "array", "maxItems": 128, "uniqueItems": True, "items": _SILO}
_COUNT: Final = {"type": "integer", "minimum": 0, "maximum": 1 << 40}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def _per_silo(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 128,
        "propertyNames": _SILO,
        "additionalProperties": item,
    }


_T: Final = {"type": "integer", "minimum": 1, "maximum": 1 << 20}
_ROUND: Final = {
    "oneOf": [
        _object({"t": _T, "skipped": {"const": True}}),
        _object({"t": _T, "model": _HEX, "survivors": {**_SILOS, "minItems": 1}}),
    ]
}
_MEMBER: Final = {
    "oneOf": [
        _object(
            {"name": _SILO, "trainable": {"const": True}, "model": {"anyOf": [_HEX, {"type": "null"}]}}
            | {"rounds": {"type": "array", "maxItems": 4096, "items": _ROUND}}
        ),
        _object({"name": _SILO, "trainable": {"const": False}}, {"model": _HEX}),
    ]
}

SCHEMA: Final[dict[str, Any]] = _object(
    {
        "v": {"const": 1},
        "round": {"type": "string", "pattern": r"^[0-9A-Za-z._-]{1,64}\Z"},
        "name": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z"},
        "operation": {"enum": ["Train", "Adopt", "Rotate"]},
        "computation": _HEX,
        "parents": {"type": "array", "maxItems": 16, "uniqueItems": True, "items": _HEX},
        "enrolment": {"type": "integer", "minimum": 1, "maximum": (1 << 31) - 1},
        "h": _HEX,
        "epoch": _HEX,
        "roster": _per_silo(
            _object(
                {"weight": {"type": "integer", "minimum": 1, "maximum": 1 << 40}},
                {"identity": _HEX, "data": _HEX},
            )
        ),
        "members": {"type": "array", "minItems": 1, "maxItems": 32, "items": _MEMBER},
        "rows": _per_silo(
            _object({"gallery": _COUNT, "test": _COUNT, "undiagnosed": _COUNT}, {"digest": _HEX})
        ),
        "evaluation": {
            "anyOf": [{"type": "null"}, _object({"digest": _HEX, "silos": _SILOS, "aggregation": _ROUND})]
        },
    },
    {
        "bundle": _object(
            {"digest": _HEX, "plain": {"type": "string", "pattern": r"^sha256:[0-9a-f]{64}\Z"}}
        ),
        "epochCheck": {"type": "string", "pattern": r"^([0-9a-f]{2}){1,64}\Z"},
        "software": {"type": ["object", "null"], "maxProperties": 16},
    },
)
