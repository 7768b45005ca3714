"""A round's board as JSON: what the planner read, in a form that can be kept, sent and replayed.

    {"format": "fedgestalt-board", "version": 1, "round": ..., "computation": ..., "base": ..., "entries": [...]}

Byte strings are `{"$hex": "..."}`. What no decision depends on (sealed keys, shares, seeds, signatures) is not in it:
its place says how many bytes there were, `{"$withheld": 97}`. Rows, updates and other blobs are never on a board.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..api.round import FederationRound
from .kinds import HUB, Kind
from .types import BaseRelease, Entry

FORMAT: Final = "fedgestalt-board"
VERSION: Final = 1
HEX: Final = "$hex"
WITHHELD: Final = "$withheld"

SHOWN: Final[Mapping[str, frozenset[str]]] = {
    Kind.ENROL: frozenset({"identity", "weight"}),
    Kind.ENDORSE: frozenset({"h"}),
    Kind.ADMIT: frozenset({"epoch", "newcomers"}),
    Kind.KEYS: frozenset({"model"}),
    Kind.MASKED: frozenset({"digest", "length"}),
    Kind.ACCEPT: frozenset({"silos"}),
    Kind.MODEL: frozenset({"hash"}),
    Kind.ROWS: frozenset(
        {"gallery", "test", "undiagnosed", "digest", "bundle", "sealed", "epoch_check", "data"}
    ),
    Kind.SCORE: frozenset({"table"}),
    Kind.SIGN: frozenset({"digest"}),
    Kind.FAULT: frozenset({"reason", "detail"}),
}
"""Fields of the silos' messages that an export shows: those that the planner reads, and a few that explain. Decisions of
the hub are shown whole."""

_METADATA: Final = ("name", "namespace", "uid", "generation", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class Withheld:
    """Stands for `size` bytes that an export does not show."""

    size: int


@dataclass(frozen=True, slots=True)
class BoardRecord:
    """A board that was exported.

    `round` is as it was at the export: its suspend, deadlines and generation may have changed since the decisions. `base`
    is None for rounds without one, and where the hub no longer had it.
    """

    round: FederationRound
    entries: tuple[Entry, ...]
    computation: Mapping[str, Any] | None
    base: BaseRelease | None


def export_board(
    round: Mapping[str, Any],
    entries: Iterable[Entry],
    computation: Mapping[str, Any] | None,
    base: BaseRelease | None = None,
) -> dict[str, Any]:
    """The JSON document of a board.

    Args:
        round: the FederationRound's document; its status, labels and annotations are left out.
        entries: of the whole board.
        computation: the frozen computation; None before it is on the board.
        base: the release that the round builds on, without which an Adopt round's manifest cannot be replayed.
    """
    metadata = {key: round["metadata"][key] for key in _METADATA if key in round["metadata"]}
    kept = {key: round[key] for key in ("apiVersion", "kind", "spec")}
    return {
        "format": FORMAT,
        "version": VERSION,
        "round": {**kept, "metadata": metadata},
        "computation": None if computation is None else dict(computation),
        "base": None
        if base is None
        else {
            "digest": base.digest,
            "manifest": dict(base.manifest),
            "computation": dict(base.computation),
            "successor": base.successor,
        },
        "entries": [_entry(entry) for entry in sorted(entries, key=lambda e: e.seq)],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    shown = None if entry.sender == HUB else SHOWN.get(entry.kind, frozenset())
    return {
        "seq": entry.seq,
        "received": entry.received,
        "enrolment": entry.enrolment,
        "member": entry.member,
        "t": entry.t,
        "try": entry.attempt,
        "kind": str(entry.kind),
        "sender": entry.sender,
        "complete": entry.complete,
        "body": {
            name: plain(value) if shown is None or name in shown else {WITHHELD: _size(value)}
            for name, value in entry.body.items()
        },
    }


def plain(value: Any) -> Any:
    """A body's value in JSON's types: lists for tuples, `{"$hex": ...}` for bytes."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {HEX: bytes(value).hex()}
    if isinstance(value, Withheld):
        return {WITHHELD: value.size}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _size(value: Any) -> int:
    """Bytes of a value, roughly: numbers count as 8."""
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_size(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(_size(item) for item in value)
    return 8
