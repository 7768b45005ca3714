"""Frames between the trainer and the silo agent: a canonical CBOR header, then raw little-endian tensors.

    magic "FGL1" | header length, u32 | payload length, u64 | header | payload        (integers little-endian)

The header is a map (RFC 8949 section 4.2.1, deterministic encoding); its `tensors` lists name, type and shape
of what follows. Every size is checked against the limits and against the tensors' own shapes before memory
for it is taken, and nothing is ever unpickled.
"""

import math
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2
import numpy as np
from numpy.typing import NDArray

MAGIC: Final = b"FGL1"
_PREFIX: Final = struct.Struct("<4sIQ")
_DTYPES: Final[dict[str, np.dtype[Any]]] = {"f4": np.dtype("<f4"), "f8": np.dtype("<f8")}
_CODES: Final[dict[int, str]] = {4: "f4", 8: "f8"}
_MAX_RANK: Final = 8

Tensor = NDArray[np.float32] | NDArray[np.float64]


class FrameError(ConnectionError):
    """Bytes that are no frame, or one beyond the limits; the connection cannot be used any further."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most bytes of a header and of a payload, and most tensors in one frame."""

    header: int = 16 << 20
    payload: int = 8 << 30
    tensors: int = 100_000


@dataclass(frozen=True, slots=True)
class Frame:
    """A header (without its `tensors`) and the tensors by name, in the order sent."""

    header: dict[str, Any]
    tensors: dict[str, Tensor]


def send_frame(sock: socket.socket, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Send one frame. Tensors are float32 or float64 of any shape.

    Raises:
        TypeError: for a tensor of another type.
        OSError: where the peer is gone or too slow for the socket's timeout.
    """
    arrays = {name: _little_endian(name, value) for name, value in tensors.items()}
    listing = [[name, _CODES[a.itemsize], list(a.shape)] for name, a in arrays.items()]
    encoded = cbor2.dumps({**header, "tensors": listing}, canonical=True)
    size = sum(a.nbytes for a in arrays.values())
    sock.sendall(_PREFIX.pack(MAGIC, len(encoded), size) + encoded)
    for array in arrays.values():
        sock.sendall(array.reshape(-1).view(np.uint8).data)


def read_frame(sock: socket.socket, limits: Limits) -> Frame:
    """Receive one frame.

    Raises:
        FrameError: for bytes that are no frame within the limits, and at the end of the stream.
        TimeoutError: where the socket's timeout passes without a byte.
    """
    magic, header_size, payload_size = _PREFIX.unpack(_read(sock, _PREFIX.size))
    if magic != MAGIC:
        raise FrameError("the peer does not speak the trainer link (wrong magic)")
    if header_size > limits.header:
        raise FrameError(f"a header of {header_size} bytes exceeds the limit of {limits.header}")
    if payload_size > limits.payload:
        raise FrameError(f"a payload of {payload_size} bytes exceeds the limit of {limits.payload}")
    header = _decode(bytes(_read(sock, header_size)))
    listing = header.pop("tensors", None)
    specs = _specs(listing, limits)
    total = sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in specs)
    if total != payload_size:
        raise FrameError(f"tensors of {total} bytes are announced with a payload of {payload_size}")
    tensors: dict[str, Tensor] = {}
    for name, dtype, shape in specs:
        raw = _read(sock, dtype.itemsize * math.prod(shape))
        tensors[name] = np.frombuffer(raw, dtype=dtype).reshape(shape)
    return Frame(header, tensors)


def _little_endian(name: str, value: Tensor) -> Tensor:
    if value.dtype.kind != "f" or value.itemsize not in _CODES:
        raise TypeError(f"tensor {name!r} has type {value.dtype}; only float32 and float64 travel")
    code = _CODES[value.itemsize]
    array: Tensor = np.asarray(value, dtype=_DTYPES[code], order="C")
    return array


def _decode(encoded: bytes) -> dict[str, Any]:
    try:
        header = cbor2.loads(encoded)
    except Exception as error:  # cbor2 raises several kinds on hostile bytes
        raise FrameError(f"the header is not CBOR ({type(error).__name__})") from None
    if not isinstance(header, dict) or not all(isinstance(key, str) for key in header):
        raise FrameError("the header is not a map with text keys")
    return header


def _specs(listing: object, limits: Limits) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
    if not isinstance(listing, list) or len(listing) > limits.tensors:
        raise FrameError(f"the header needs a list of at most {limits.tensors} tensors")
    specs: dict[str, tuple[str, np.dtype[Any], tuple[int, ...]]] = {}
    entry: Any
    for entry in listing:
        match entry:
            case [str() as name, str() as code, list() as shape] if (
                code in _DTYPES and len(shape) <= _MAX_RANK
            ):
                if name in specs or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
                    raise FrameError("a tensor is listed twice or has an impossible shape")
                specs[name] = (name, _DTYPES[str(code)], tuple(shape))
            case _:
                raise FrameError("a tensor is not listed as name, f4 or f8, and shape")
    return list(specs.values())


def _read(sock: socket.socket, size: int) -> bytearray:
    buffer = bytearray(size)
    view = memoryview(buffer)
    got = 0
    while got < size:
        count = sock.recv_into(view[got:], min(size - got, 1 << 20))
        if count == 0:
            raise FrameError("the peer closed the connection")
        got += count
    return buffer
