"""CEL rules of a CRD (`x-kubernetes-validations`), evaluated with a CEL library in place of an API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import celpy
from celpy import celtypes
from celpy.evaluation import CELEvalError

from .structural import Problem, Schema, join

_ABSENT: Any = object()


def rule_problems(schema: Schema, document: Any, old: Any = None) -> list[Problem]:
    """Rules that a schema-valid document breaks. Rules on `oldSelf` count only for an update from `old`."""
    return list(_walk(schema, document, _ABSENT if old is None else old, ""))


def _walk(schema: Schema, value: Any, old: Any, path: str) -> Iterator[Problem]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"] and old is _ABSENT:
            continue
        if not _holds(rule["rule"], schema, value, old):
            yield Problem(path or "document", rule["message"], "")
    if isinstance(value, dict):
        for name, child in schema.get("properties", {}).items():
            if name in value:
                before = old.get(name, _ABSENT) if isinstance(old, dict) else _ABSENT
                yield from _walk(child, value[name], before, join(path, name))
    elif isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from _walk(schema["items"], item, _counterpart(schema, item, old), join(path, i))


def _counterpart(schema: Schema, item: Any, old: Any) -> Any:
    """The item's earlier state: only items of list-maps have one, matched by their keys."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if not keys or not isinstance(old, list):
        return _ABSENT
    same = (o for o in old if all(o.get(k) == item.get(k) for k in keys))
    return next(same, _ABSENT)


def _holds(rule: str, schema: Schema, value: Any, old: Any) -> bool:
    context = {"self": _cel(schema, value)}
    if old is not _ABSENT:
        context["oldSelf"] = _cel(schema, old)
    try:
        return bool(_program(rule)(context))
    except (CELEvalError, ArithmeticError, TypeError, ValueError):
        return False  # as the API server does: a rule that cannot be evaluated does not hold


@cache
def _program(rule: str) -> Callable[[Mapping[str, Any]], Any]:
    environment = celpy.Environment()
    program: Any = environment.program(environment.compile(rule))
    evaluate: Callable[[Mapping[str, Any]], Any] = program.evaluate
    return evaluate


def _cel(schema: Schema, value: Any) -> Any:
    """The CEL value of a JSON value, typed by its schema: a whole number in a `number` field is a double.

    1.0 in an `integer` field is an error to the rules that use it, and to no other, as the API server has it.
    """
    if isinstance(value, dict):
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
        other = rest if isinstance(rest, dict) else {}
        return celtypes.MapType(
            {celtypes.StringType(k): _cel(properties.get(k, other), v) for k, v in value.items()}
        )
    if isinstance(value, list):
        return celtypes.ListType([_cel(schema.get("items", {}), item) for item in value])
    if isinstance(value, bool):
        return celtypes.BoolType(value)
    if isinstance(value, int | float):
        if schema.get("type") == "number":
            return celtypes.DoubleType(value)
        return (
            celtypes.IntType(value) if isinstance(value, int) else CELEvalError("a whole number is expected")
        )
    return None if value is None else celtypes.StringType(value)
