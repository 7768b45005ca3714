"""A deterministic binary form for a few named arrays: a CBOR header and the raw little-endian numbers.

    magic  8 bytes   b"FGARRAY1"
    size   4 bytes   length of the header, unsigned little-endian
    header           CBOR (RFC 8949, deterministically encoded as in its section 4.2.1): kind, meta and
                     arrays, a list of [name, dtype, shape]
    data             the arrays in the order of the header, row-major, without gaps

Equal content gives equal bytes, so digests can be compared. A reader states what it expects (names, order,
dtypes, the largest shape); everything is checked against the header and the length of the blob before
anything is allocated, and the arrays are read-only views of the blob, not copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any, Final

import cbor2
import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.errors import FlakeError

MAGIC: Final = b"FGARRAY1"
MAX_HEADER_BYTES: Final = 1 << 16
_PREFIX: Final = len(MAGIC) + 4


@dataclass(frozen=True)
class ArraySpec:
    """An expected array: its name, its dtype (as <f8, <u4, |u1 ...) and the largest shape it may have."""

    name: str
    dtype: str
    limits: tuple[int, ...]


def encode(kind: str, meta: Mapping[str, int | str | bytes], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the deterministic bytes of arrays and their header; byte order is made little-endian."""
    listed: list[list[Any]] = []
    parts: list[bytes] = []
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        listed.append([name, little.dtype.str, list(little.shape)])
        parts.append(little.tobytes())
    header = cbor2.dumps({"kind": kind, "meta": dict(meta), "arrays": listed}, canonical=True)
    return b"".join([MAGIC, len(header).to_bytes(4, "little"), header, *parts])


def decode(
    blob: bytes | memoryview, kind: str, meta: Mapping[str, type], specs: Sequence[ArraySpec]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `encode` wrote and return the header's meta and read-only arrays.

    Args:
        blob: untrusted bytes.
        kind: the kind the blob must name.
        meta: names and types that the header's meta must have, exactly.
        specs: the arrays that the blob must hold, in this order.

    Raises:
        FlakeError: bytes that are not of this form, or not what was expected.
    """
    view = memoryview(blob)
    size = int.from_bytes(view[len(MAGIC) : _PREFIX], "little")
    if bytes(view[: len(MAGIC)]) != MAGIC or not 0 < size <= min(MAX_HEADER_BYTES, len(view) - _PREFIX):
        raise FlakeError(f"this is not a {kind} blob: its beginning is not that of one, or it is cut off")
    found_meta, listed = _header(bytes(view[_PREFIX : _PREFIX + size]), kind, meta)
    if len(listed) != len(specs):
        raise FlakeError(f"{kind}: the header lists {len(listed)} arrays, expected {len(specs)}")
    shapes = [_shape(kind, entry, spec) for entry, spec in zip(listed, specs, strict=True)]
    sizes = [np.dtype(spec.dtype).itemsize * prod(shape) for spec, shape in zip(specs, shapes, strict=True)]
    if _PREFIX + size + sum(sizes) != len(view):
        present = len(view) - _PREFIX - size
        raise FlakeError(f"{kind}: the header announces {sum(sizes)} bytes of data, the blob has {present}")
    arrays: dict[str, NDArray[Any]] = {}
    offset = _PREFIX + size
    for spec, shape, length in zip(specs, shapes, sizes, strict=True):
        array = np.frombuffer(view[offset : offset + length], dtype=spec.dtype).reshape(shape)
        array.flags.writeable = False
        arrays[spec.name] = array
        offset += length
    return found_meta, arrays


def _header(raw: bytes, kind: str, meta: Mapping[str, type]) -> tuple[dict[str, Any], list[Any]]:
    stream = BytesIO(raw)
    try:
        header = cbor2.CBORDecoder(stream).decode()
    except Exception as error:  # the decoder raises many types on hostile bytes
        raise FlakeError(f"{kind}: the header is not valid CBOR") from error
    if stream.read(1) or not isinstance(header, dict) or set(header) != {"kind", "meta", "arrays"}:
        raise FlakeError(f"{kind}: the header does not have exactly kind, meta and arrays")
    if header["kind"] != kind:
        raise FlakeError(f"expected a blob of kind {kind}, got {str(header['kind'])[:40]!r}")
    found = header["meta"]
    # `type(...) is` and not isinstance: a boolean is no count.
    if (
        not isinstance(found, dict)
        or set(found) != set(meta)
        or any(type(found[name]) is not expected for name, expected in meta.items())
    ):
        raise FlakeError(f"{kind}: the header's meta must have exactly {', '.join(sorted(meta))}")
    if not isinstance(header["arrays"], list):
        raise FlakeError(f"{kind}: the header's arrays are not a list")
    return found, header["arrays"]


def _shape(kind: str, entry: object, spec: ArraySpec) -> tuple[int, ...]:
    if not isinstance(entry, list) or len(entry) != 3 or entry[0] != spec.name or entry[1] != spec.dtype:
        raise FlakeError(f"{kind}: expected the array {spec.name} of type {spec.dtype} at this place")
    shape = entry[2]
    if (
        not isinstance(shape, list)
        or len(shape) != len(spec.limits)
        or any(type(n) is not int or not 0 <= n <= top for n, top in zip(shape, spec.limits, strict=True))
    ):
        raise FlakeError(f"{kind}: the shape of {spec.name} does not fit within {list(spec.limits)}")
    return tuple(shape)
