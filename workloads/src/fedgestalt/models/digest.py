"""The hash that names a model: silos compare it after every aggregation, bundles record it.

Pure NumPy, so that the protocol side can compute it without a deep-learning framework.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_DOMAIN = b"fedgestalt model hash v1\0"
_KINDS = "fiub"  # floats, signed and unsigned integers, booleans: nothing whose bytes are pointers
_CHUNK = 1 << 20


def model_hash(tensors: Mapping[str, NDArray[np.generic]]) -> str:
    """SHA-256, in hex, of named tensors: independent of their order in the mapping and of the machine's
    endianness.

    The hashed encoding is injective. Per tensor, sorted by the UTF-8 bytes of its name: name (32-bit length,
    bytes), dtype (``<f4`` and so on, 32-bit length, bytes), number of dimensions (32 bits), dimensions (64
    bits each), then the values in C order. All integers and values are little-endian. A negative zero and a
    positive zero differ, as do NaNs with different payloads: two models are the same when their bits are.

    Raises:
        TypeError: a tensor is not numeric or boolean.
    """
    digest = hashlib.sha256(_DOMAIN)
    digest.update(struct.pack("<Q", len(tensors)))
    for name, tensor in sorted(tensors.items(), key=lambda item: item[0].encode()):
        array = np.asarray(tensor)
        if array.dtype.kind not in _KINDS:
            raise TypeError(
                f"tensor {name!r} has dtype {array.dtype}: only numbers and booleans can be hashed"
            )
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        for text in (name.encode(), little.dtype.str.encode()):
            digest.update(struct.pack("<I", len(text)) + text)
        digest.update(struct.pack(f"<I{array.ndim}Q", array.ndim, *array.shape))
        digest.update(little.tobytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """``sha256:`` and the hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()
