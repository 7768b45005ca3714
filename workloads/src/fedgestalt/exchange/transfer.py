"""Blobs over the wire: chunks of at most 1 MiB that any proxy lets through, resumable both ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from fedgestalt.exchange.errors import Code, RefusedError, UntrustedExchangeError
from fedgestalt.exchange.transport import Transport

CHUNK: Final = 1 << 20
_ATTEMPTS: Final = 4
# What a new look at the offset mends: a chunk whose first answer was lost, an upload that a crash of the
# exchange took (BlobUnknown) or spoilt (DigestMismatch: it was dropped and is taken again from the start).
_AGAIN: Final = frozenset({Code.OFFSET_MISMATCH, Code.BLOB_UNKNOWN, Code.DIGEST_MISMATCH})


def upload_blob(transport: Transport, round_uid: str, digest: str, data: bytes | Path) -> None:
    """Send what is missing of a blob, then have it verified and published."""
    with ExitStack() as stack:
        stream: BinaryIO = data.open("rb") if isinstance(data, Path) else BytesIO(data)
        source = stack.enter_context(stream)
        for left in reversed(range(_ATTEMPTS)):
            try:
                _send(transport, f"/rounds/{round_uid}/blobs/{digest}", source)
                return
            except RefusedError as error:
                if error.code not in _AGAIN or not left:
                    raise


def _send(transport: Transport, where: str, source: BinaryIO) -> None:
    length = source.seek(0, 2)
    # What fits into one chunk is sent at once: asking how far it is costs as much as sending it again.
    progress = (
        transport.request("HEAD", where) if length > CHUNK else _put(transport, where, source, 0, length)
    )
    while progress.headers.get("Upload-Complete") != "?1":
        offset = int(progress.headers["Upload-Offset"])
        if offset >= length:
            transport.request("POST", f"{where}/complete")
            return
        progress = _put(transport, where, source, offset, length)


def _put(transport: Transport, where: str, source: BinaryIO, offset: int, length: int) -> httpx.Response:
    source.seek(offset)
    last = {"Upload-Complete": "?1"} if offset + CHUNK >= length else {}
    return transport.request(
        "PUT", where, params={"offset": offset}, content=source.read(CHUNK), headers=last
    )


def download_blob(transport: Transport, round_uid: str, digest: str, start: int = 0) -> Iterator[bytes]:
    """The bytes of a complete blob from ``start`` on, unverified.

    Raises:
        UntrustedExchangeError: the exchange sends ranges that were not asked for.
    """
    where = f"/rounds/{round_uid}/blobs/{digest}"
    while True:
        try:
            response = transport.request(
                "GET", where, headers={"Range": f"bytes={start}-{start + CHUNK - 1}"}
            )
        except RefusedError as error:
            if error.code is Code.RANGE_INVALID:  # an empty blob, or all of it is here
                return
            raise
        chunk = response.content
        unit, _, total = response.headers.get("Content-Range", "").partition("/")
        if not chunk or not unit.startswith(f"bytes {start}-") or not total.isdigit():
            raise UntrustedExchangeError(f"blob {digest}: the exchange answered with another range")
        yield chunk
        start += len(chunk)
        if start >= int(total):
            return
