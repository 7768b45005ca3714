"""How a command ends: exit codes, and the errors that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import click

from ..api.round import Phase


class Exit(IntEnum):
    """Exit codes of all commands. 2 is click's own for wrong usage."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    TIMED_OUT = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class End(click.ClickException):
    """Ends a command with one line on standard error and a code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_code = int(code)  # type: ignore[misc]  # click reads it from the instance


def over(status: Mapping[str, Any]) -> Exit | None:
    """The exit code of a round that is over, None while it goes on."""
    match status.get("phase"):
        case Phase.SUCCEEDED:
            return Exit.SUCCEEDED
        case Phase.FAILED:
            return Exit.FAILED
        case _:
            return None


def condition(status: Mapping[str, Any], type: str) -> Mapping[str, Any]:
    """A condition of a status; empty if it is not there."""
    found: list[Mapping[str, Any]] = [c for c in status.get("conditions", ()) if c["type"] == type]
    return found[0] if found else {}


def outcome(name: str, status: Mapping[str, Any]) -> str:
    """One line on how a round ended."""
    succeeded = condition(status, "Succeeded")
    line = f"round {name} {str(status['phase']).lower()}: {succeeded.get('reason', 'no reason stated')}"
    if status.get("releaseDigest"):
        line += f", release sha256:{status['releaseDigest']}"
    if succeeded.get("message"):
        line += f" ({succeeded['message']})"
    return line
