"""Byte strings that must not leave a silo, and a search for all of them at once in what lies elsewhere."""

import base64
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

RUN = 8
"""Consecutive numbers that make a canary of a tensor."""
HEAD = 8
"""Bytes of a canary that the fast part of the search looks for; none is shorter."""
LEAST_VARIETY = 12
"""Different bytes in a run of numbers: zeros and constants stand everywhere."""


@dataclass
class Canaries:
    """The secrets of one owner: byte string -> what it is."""

    patterns: dict[bytes, str] = field(default_factory=dict)

    @property
    def kinds(self) -> set[str]:
        return set(self.patterns.values())

    def add(self, what: str, *values: bytes) -> None:
        for value in values:
            assert len(value) >= HEAD
            self.patterns[value] = what

    def add_key(self, what: str, key: bytes) -> None:
        """A key raw, in hexadecimal, and in base64 wherever it begins in the encoded text."""
        self.add(what, key, key.hex().encode(), key.hex().upper().encode())
        for shift in range(3):
            whole = base64.b64encode(bytes(shift) + key + bytes(2))
            inner = whole[(0, 2, 3)[shift] :][
                : len(key) * 8 // 6 - 1
            ]  # the characters that hold bits of the key only
            self.add(what, inner, inner.translate(bytes.maketrans(b"+/", b"-_")))

    def add_numbers(self, what: str, tensor: np.ndarray, places: int = 1) -> None:
        """Runs of numbers at ``places`` of ``tensor``: float32 and float64, little endian, and as JSON writes them."""
        flat = np.asarray(tensor, dtype=np.float64).reshape(-1)
        for start in np.linspace(0, max(0, len(flat) - RUN), places).astype(int):
            run = flat[start : start + RUN]
            for data in (run.astype("<f4").tobytes(), run.astype("<f8").tobytes()):
                if len(set(data)) >= LEAST_VARIETY:
                    self.add(what, data)
            self.add(what, *(text.encode() for x in run[:3] if len(text := repr(float(x))) >= 18))


class Search:
    """Finds which of many canaries stand in bytes: their first eight bytes by table, the rest by comparison."""

    def __init__(self, owners: dict[str, Canaries]) -> None:
        self._by_head: dict[bytes, list[tuple[bytes, str]]] = {}
        for owner, canaries in owners.items():
            for value, what in canaries.patterns.items():
                self._by_head.setdefault(value[:HEAD], []).append((value, f"{what} of {owner}"))
        self._heads = np.array(sorted(np.frombuffer(b"".join(self._by_head), "<u8")), dtype="<u8")
        self._pairs = np.zeros(1 << 16, dtype=bool)
        self._pairs[(self._heads & 0xFFFF).astype(np.int64)] = True

    def found(self, data: bytes) -> set[str]:
        """What is in ``data``, as "<kind> of <owner>"."""
        return {name for _, name in self.hits(data)}

    def hits(self, data: bytes) -> set[tuple[bytes, str]]:
        """The canaries themselves, each with its "<kind> of <owner>"."""
        if len(data) < HEAD:
            return set()
        octets = np.frombuffer(data, dtype=np.uint8)
        last = len(octets) - HEAD + 1
        pairs = octets[:last].astype(np.uint16) | octets[1 : last + 1].astype(np.uint16) << 8
        at = np.flatnonzero(self._pairs[pairs])
        words = np.lib.stride_tricks.sliding_window_view(octets, HEAD)[at].copy().view("<u8").reshape(-1)
        return {
            (value, name)
            for place in at[np.isin(words, self._heads)]
            for value, name in self._by_head[data[place : place + HEAD]]
            if data.startswith(value, int(place))
        }


def contents(*places: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below ``places``, and every cell of the SQLite files there (a page break may cut a value in the file)."""
    for place in places:
        for path in sorted(place.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # another program's, gone in the meantime
            yield str(path), data
            if data.startswith(b"SQLite format 3\0"):
                yield f"{path} (cells)", b"\n".join(cells(path))


def cells(path: Path) -> Iterable[bytes]:
    with sqlite3.connect(path) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in db.execute(f'SELECT * FROM "{table}"'):
                yield from (v if isinstance(v, bytes) else str(v).encode() for v in row)
