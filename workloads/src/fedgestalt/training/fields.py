"""Reading JSON objects field by field, so that every mistake is reported with its path and its fix."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self, TypeVar

from .errors import TrainingError

E = TypeVar("E", bound=StrEnum)


class ConfigError(TrainingError, ValueError):
    """A field that cannot be used. `path` is its dotted path, `fix` what to write instead."""

    def __init__(self, path: str, problem: str, fix: str) -> None:
        super().__init__(f"{path}: {problem}; {fix}")
        self.path = path
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str]]:
        """Pickled by its three arguments: Ray carries it from a worker."""
        return type(self), (self.path, self.problem, self.fix)


class Fields:
    """A cursor over one JSON object at `path`. `finish()` refuses fields nobody asked for."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise ConfigError(path, f"is {_kind(value)}", "write an object")
        self._value: Mapping[str, Any] = value
        self.path = path
        self._seen: set[str] = set()

    def at(self, name: str) -> str:
        """The path of the field `name`."""
        return f"{self.path}.{name}"

    def raw(self, name: str, default: object = None) -> Any:
        """The value as it stands, or `default` where it is absent or null."""
        self._seen.add(name)
        value = self._value.get(name)
        return default if value is None else value

    def text(self, name: str, default: str | None = None) -> str:
        """A non-empty string."""
        value = self.raw(name, default)
        if not isinstance(value, str) or not value:
            raise ConfigError(self.at(name), f"is {_kind(value)}", "write a non-empty string")
        return value

    def choice(self, name: str, options: type[E], default: E) -> E:
        """One of a closed set of words."""
        value = self.raw(name, default.value)
        try:
            return options(value)
        except ValueError:
            words = ", ".join(option.value for option in options)
            raise ConfigError(self.at(name), f"is {value!r}", f"write one of {words}") from None

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """An integer in [low, high]."""
        value = self.raw(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(self.at(name), f"is {value!r}", f"write a whole number from {low} to {high}")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A finite number in [low, high]."""
        value = self.raw(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(self.at(name), f"is {_kind(value)}", "write a finite number")
        if not low <= value <= high:
            raise ConfigError(self.at(name), f"is {value!r}", f"write a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """A boolean."""
        value = self.raw(name, default)
        if not isinstance(value, bool):
            raise ConfigError(self.at(name), f"is {_kind(value)}", "write true or false")
        return value

    def child(self, name: str) -> "Fields":
        """A cursor over a nested object; an absent one reads as empty, so that its defaults apply."""
        return Fields(self.raw(name, {}), self.at(name))

    def items(self, name: str, most: int) -> list[tuple[str, Any]]:
        """A non-empty list of at most `most` entries, each with its path."""
        value = self.raw(name, [])
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise ConfigError(self.at(name), f"is {_kind(value)}", f"write a list of 1 to {most} entries")
        return [(f"{self.at(name)}[{i}]", item) for i, item in enumerate(value)]

    def finish(self) -> None:
        """Refuse unknown fields: a misspelt one would silently mean its default."""
        unknown = sorted(set(map(str, self._value)) - self._seen)
        if unknown:
            known = ", ".join(sorted(self._seen))
            raise ConfigError(self.at(unknown[0]), "is not a known field", f"remove it or use one of {known}")


def _kind(value: object) -> str:
    """A word for the wrong value that does not repeat its content."""
    return {
        type(None): "missing",
        str: "an empty string" if value == "" else "a string",
        bool: "a boolean",
        list: f"a list of {len(value)}" if isinstance(value, list) else "a list",
        dict: "an object",
    }.get(type(value), f"a {type(value).__name__}")
