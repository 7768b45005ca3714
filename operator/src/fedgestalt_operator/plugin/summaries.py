"""Messages, decisions and actions in a line: sizes and first digits, never contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..plan.board_file import Withheld
from ..plan.types import (
    Action,
    CreateJob,
    Decision,
    DeleteJob,
    DeleteRound,
    DropBlobs,
    EnsureTask,
    Entry,
    PublishRelease,
)
from .times import moment

_NAMES: Final = 6
_TEXT: Final = 100
_DIGEST: Final = 32

HEAD: Final = ("SEQ", "TIME", "KIND", "MEMBER", "T", "TRY", "SENDER", "SAYS")


def row(entry: Entry, now: float) -> tuple[str, ...]:
    """A message's row under `HEAD`; coordinates that it does not use stay empty."""
    return (
        str(entry.seq),
        moment(entry.received, now),
        str(entry.kind),
        entry.member,
        *(str(n) if n else "" for n in (entry.t, entry.attempt)),
        entry.sender,
        body(entry.body) + ("" if entry.complete else " (blobs not complete)"),
    )


def body(fields: Mapping[str, Any]) -> str:
    """`silos=east,north digest=3fa9c2d1...`."""
    return " ".join(f"{name}={_value(value)}" for name, value in sorted(fields.items()))


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{value.hex()[:8]}..." if len(value) == _DIGEST else f"({len(value)} bytes)"
    if isinstance(value, Withheld):
        return f"({value.size} bytes withheld)"
    if isinstance(value, Mapping):
        return f"(of {len(value)}: {_names(value)})" if value else "(none)"
    if isinstance(value, list | tuple):
        return _names(value) or "(none)"
    text = str(value)
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 3]}..."


def _names(values: Any) -> str:
    names = [str(v) for v in values]
    more = f",+{len(names) - _NAMES}" if len(names) > _NAMES else ""
    return ",".join(names[:_NAMES]) + more


def place(item: Entry | Decision) -> str:
    """`keyset m0 t=1 try=1`, with the enrolment attempt where it is not the first."""
    words = [str(item.kind)]
    if item.member:
        words.append(item.member)
    if item.t:
        words.append(f"t={item.t}")
    if item.attempt:
        words.append(f"try={item.attempt}")
    if item.enrolment > 1:
        words.append(f"enrolment={item.enrolment}")
    return " ".join(words)


def decision(made: Entry | Decision) -> str:
    """A decision with what it says."""
    return f"{place(made)}: {body(made.body)}" if made.body else place(made)


def action(planned: Action) -> str:
    """What the hub would do, in a line."""
    match planned:
        case CreateJob(name=name):
            return f"create Job {name}"
        case EnsureTask(name=name, silo=silo, kind=kind):
            return f"give {silo} the task {kind.value} ({name})"
        case DropBlobs(digests=digests):
            return f"delete {len(digests)} masked blobs"
        case DeleteJob(name=name):
            return f"delete Job {name}"
        case PublishRelease(digest=digest):
            return f"publish release {digest[:12]}"
        case DeleteRound():
            return "delete the round (its time to live has passed)"
