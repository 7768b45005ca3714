"""What a structural schema says: defaults, types and bounds, unknown fields, unique keys of lists."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import jsonschema

from ..api.conditions import seconds

Schema = Mapping[str, Any]

_FORMATS = jsonschema.FormatChecker([])


@_FORMATS.checks("date-time", ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or seconds(value) is not None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: where, what, and how to mend it."""

    path: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.fix}" if self.fix else f"{self.path}: {self.what}"


def apply_defaults(schema: Schema, value: Any) -> Any:
    """A copy of `value` with the schema's defaults, applied from the outside in as the API server does: to it a
    known field that is null is absent.
    """
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        given = {k: v for k, v in value.items() if v is not None or k not in known}
        result = {k: apply_defaults(known.get(k, {}), v) for k, v in given.items()}
        for name, child in schema["properties"].items():
            if name not in result and "default" in child:
                result[name] = apply_defaults(child, copy.deepcopy(child["default"]))
        return result
    if isinstance(value, list) and "items" in schema:
        return [apply_defaults(schema["items"], item) for item in value]
    return copy.deepcopy(value)


def schema_problems(schema: Schema, document: Any) -> list[Problem]:
    """Everything that the schema forbids, unknown fields included."""
    checker = jsonschema.Draft202012Validator(_strict(schema, root=True), format_checker=_FORMATS)
    found = [_problem(error) for error in checker.iter_errors(document)]
    found.extend(_repeated(schema, document, ""))
    return sorted(found, key=lambda p: (p.path, p.what))


def join(path: str, step: str | int) -> str:
    """A dotted path one step further: `spec`, `silos`, 2 -> `spec.silos[2]`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def _strict(schema: Schema, *, root: bool = False) -> dict[str, Any]:
    """The schema for a JSON Schema validator, refusing fields that the API server would silently prune."""
    strict = {k: v for k, v in schema.items() if not k.startswith("x-kubernetes") and k != "default"}
    if "properties" in strict:
        strict["properties"] = {
            name: child if root and name == "metadata" else _strict(child)
            for name, child in schema["properties"].items()
        }
        strict.setdefault("additionalProperties", False)
    if "items" in strict:
        strict["items"] = _strict(schema["items"])
    return strict


def _problem(error: jsonschema.ValidationError) -> Problem:
    path = ""
    for step in error.absolute_path:
        path = join(path, step)
    rule, limit, instance = str(error.validator), cast(Any, error.validator_value), cast(Any, error.instance)
    match rule:
        case "required":
            absent = [name for name in limit if name not in instance]
            missing = next((name for name in absent if f"'{name}'" in error.message), absent[0])
            return Problem(join(path, missing), "is missing", "add it")
        case "additionalProperties":
            known = sorted(cast(Schema, error.schema).get("properties", {}))
            unknown = sorted(set(instance) - set(known))
            plural = "are no known fields" if len(unknown) > 1 else "is no known field"
            return Problem(
                path or "document",
                f"{', '.join(unknown)} {plural}",
                f"remove it or use one of {', '.join(known)}",
            )
        case "enum":
            return Problem(path, f"is {instance!r}", f"write one of {', '.join(map(str, limit))}")
        case "type":
            return Problem(path, f"is {_kind(instance)}", f"write {_article(str(limit))}")
        case "pattern" | "format":
            return Problem(path, f"is {_short(instance)}", f"write it in the form {limit}")
    limits = {
        "minimum": f"write at least {limit}",
        "maximum": f"write at most {limit}",
        "minLength": f"write at least {limit} character(s)",
        "maxLength": f"write at most {limit} characters",
        "minItems": f"list at least {limit}",
        "maxItems": f"list at most {limit}",
        "minProperties": f"give at least {limit}",
        "maxProperties": f"give at most {limit}",
    }
    size = len(instance) if isinstance(instance, list | dict) else None
    what = f"has {size} entries" if size is not None else f"is {_short(instance)}"
    return Problem(path or "document", what, limits.get(rule, error.message))


def _repeated(schema: Schema, value: Any, path: str) -> Iterator[Problem]:
    """Repeated entries of lists that are sets or maps."""
    if isinstance(value, dict):
        for name, child in schema.get("properties", {}).items():
            if name in value:
                yield from _repeated(child, value[name], join(path, name))
    elif isinstance(value, list) and "items" in schema:
        seen: list[Any] = []
        keys = schema.get("x-kubernetes-list-map-keys")
        unique = schema.get("x-kubernetes-list-type") in ("set", "map")
        for i, item in enumerate(value):
            key = [item.get(k) for k in keys] if keys and isinstance(item, dict) else item
            if unique and key in seen:
                shown = ", ".join(map(str, key)) if isinstance(key, list) else key
                yield Problem(join(path, i), f"{_short(shown)} stands there twice", "name each one once")
            seen.append(key)
            yield from _repeated(schema["items"], item, join(path, i))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(value: Any) -> str:
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "empty")


def _article(name: str) -> str:
    return {"integer": "a whole number", "string": "text", "array": "a list", "object": "an object"}.get(
        name, f"a {name}"
    )
