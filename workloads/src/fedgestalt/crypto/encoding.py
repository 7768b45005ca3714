"""Canonical CBOR (RFC 8949, section 4.2.1) for a closed set of types; a strict reader for untrusted bytes.

Allowed: unsigned integers below 2^64, byte strings, UTF-8 text, booleans, lists, and maps with text keys.
There is exactly one encoding of a value, so equal values have equal digests and a signature covers one
meaning only.

The reader is our own because a general CBOR decoder does more than may happen to bytes from a stranger: it
runs constructors for tags, follows shared references and keeps the last of doubled keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import cbor2

from fedgestalt.crypto.errors import EncodingError

MAX_DEPTH: Final = 8
_UNSIGNED, _BYTES, _TEXT, _LIST, _MAP, _SIMPLE = 0, 2, 3, 4, 5, 7


def encode(value: Any) -> bytes:
    """Return the canonical encoding of ``value``; tuples are written as lists.

    Raises:
        EncodingError: the value holds a type outside the allowed set, or is nested deeper than 8 levels.
    """
    _check(value, 0)
    return bytes(cbor2.dumps(value, canonical=True))


def decode(data: bytes, *, limit: int) -> Any:
    """Read one canonically encoded value of at most ``limit`` bytes.

    Raises:
        EncodingError: too long, cut, trailing bytes, another type, doubled or unsorted keys, a number or
            length that is not in its shortest form, text that is no UTF-8, nesting deeper than 8 levels.
    """
    if len(data) > limit:
        raise EncodingError(f"{len(data)} bytes exceed the limit of {limit}")
    reader = _Reader(bytes(data))
    value = reader.value(0)
    if reader.position != len(data):
        raise EncodingError(f"{len(data) - reader.position} bytes follow the encoded value")
    return value


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise EncodingError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, bool | bytes | str):
        return
    if isinstance(value, int):
        if not 0 <= value < 1 << 64:
            raise EncodingError("an integer is negative or does not fit 64 bits")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise EncodingError(f"a map key is a {type(key).__name__}, not text")
            _check(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth + 1)
    else:
        raise EncodingError(f"a {type(value).__name__} has no canonical encoding here")


class _Reader:
    """A cursor over the bytes; every step checks what is left before it takes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise EncodingError(f"nested deeper than {MAX_DEPTH} levels")
        major, argument = self._head()
        if major == _UNSIGNED:
            return argument
        if major == _BYTES:
            return self._take(argument)
        if major == _TEXT:
            return self._text(argument)
        if major == _LIST:
            self._fits(argument)
            return [self.value(depth + 1) for _ in range(argument)]
        if major == _MAP:
            return self._map(argument, depth)
        if major == _SIMPLE and argument in (20, 21):
            return argument == 21
        raise EncodingError(f"a CBOR item of major type {major} is not allowed here")

    def _map(self, size: int, depth: int) -> dict[str, Any]:
        self._fits(2 * size)
        result: dict[str, Any] = {}
        before = b""
        for _ in range(size):
            start = self.position
            major, argument = self._head()
            if major != _TEXT:
                raise EncodingError("a map key is not text")
            key = self._text(argument)
            encoded = self.data[start : self.position]
            if encoded <= before:
                raise EncodingError("map keys are doubled or not in canonical order")
            before = encoded
            result[key] = self.value(depth + 1)
        return result

    def _head(self) -> tuple[int, int]:
        first = self._take(1)[0]
        major, short = first >> 5, first & 31
        if short < 24:
            return major, short
        if major == _SIMPLE or short > 27:
            raise EncodingError("floats, indefinite lengths and simple values are not allowed here")
        width = 1 << (short - 24)
        argument = int.from_bytes(self._take(width), "big")
        if argument < (24 if width == 1 else 1 << (4 * width)):
            raise EncodingError("a number or length is not in its shortest form")
        return major, argument

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise EncodingError("text is not UTF-8") from error

    def _take(self, size: int) -> bytes:
        self._fits(size)
        taken = self.data[self.position : self.position + size]
        self.position += size
        return taken

    def _fits(self, size: int) -> None:
        if size > len(self.data) - self.position:
            raise EncodingError("the data end before the value does")
