"""Reading an exported board: untrusted JSON, checked before anything is planned with it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..api.round import parse_round
from ..plan.board_file import FORMAT, HEX, VERSION, WITHHELD, BoardRecord, Withheld
from ..plan.types import BaseRelease, Entry

MAX_BYTES: Final = 256 << 20

_ENTRY: Final[Mapping[str, type | tuple[type, ...]]] = {
    "seq": int,
    "received": (int, float),
    "enrolment": int,
    "member": str,
    "t": int,
    "try": int,
    "kind": str,
    "sender": str,
    "complete": bool,
    "body": dict,
}


class BoardError(ValueError):
    """Not a board's export; the message says where and what is wrong."""


def read_board(path: Path) -> BoardRecord:
    """The board in a file.

    Raises:
        BoardError: it cannot be read, or is none.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BoardError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; no board's export is that large")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise BoardError(f"{path}: {error.strerror or error}; give the file of an exported board") from None
    except ValueError as error:
        raise BoardError(f"{path}: is no JSON: {error}") from None
    return parse_board(document, str(path))


def parse_board(document: Any, source: str) -> BoardRecord:
    """The board in a JSON document.

    Args:
        source: where it comes from, for errors.

    Raises:
        BoardError: it is none, or of another version.
    """
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise BoardError(f"{source}: is no exported board (field format is not {FORMAT!r})")
    if document.get("version") != VERSION:
        raise BoardError(
            f"{source}: version {document.get('version')!r} of the export; this plugin reads version {VERSION}"
        )
    try:
        round = parse_round(document["round"])
        computation, base = document["computation"], document["base"]
        known = None if base is None else BaseRelease(**{name: base[name] for name in _BASE})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BoardError(f"{source}: round, computation or base is not as exported: {error!r}") from None
    if not isinstance(computation, Mapping | None) or not isinstance(document.get("entries"), list):
        raise BoardError(f"{source}: computation must be an object or null, entries a list")
    entries = tuple(_entry(item, f"{source}: entry {i}") for i, item in enumerate(document["entries"]))
    if any(a.seq >= b.seq for a, b in itertools.pairwise(entries)):
        raise BoardError(f"{source}: the entries are not in the board's order (seq must grow)")
    return BoardRecord(round, entries, computation, known)


_BASE: Final = ("digest", "manifest", "computation", "successor")


def _entry(item: Any, where: str) -> Entry:
    if not isinstance(item, Mapping):
        raise BoardError(f"{where} is no object")
    for name, kind in _ENTRY.items():
        value = item.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BoardError(f"{where}: field {name!r} is missing or of another type")
    return Entry(
        seq=item["seq"],
        received=float(item["received"]),
        enrolment=item["enrolment"],
        member=item["member"],
        t=item["t"],
        attempt=item["try"],
        kind=item["kind"],
        sender=item["sender"],
        body={name: _value(value, f"{where}: {name}") for name, value in item["body"].items()},
        complete=item["complete"],
    )


def _value(value: Any, where: str) -> Any:
    """A body's value: bytes again where they were."""
    if isinstance(value, list):
        return [_value(item, where) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {HEX}:
        try:
            return bytes.fromhex(value[HEX])
        except (ValueError, TypeError):
            raise BoardError(f"{where}: {HEX} is not hexadecimal") from None
    if value.keys() == {WITHHELD} and isinstance(value[WITHHELD], int):
        return Withheld(value[WITHHELD])
    return {name: _value(item, where) for name, item in value.items()}
