"""Routes of blobs: upload in chunks that resumes, download by ranges, deletion by the hub.

The headers ``Upload-Offset`` and ``Upload-Complete`` are those of the IETF's draft on resumable uploads.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.server.auth import (
    Authenticated,
    Caller,
    State,
    check_digest,
    require_role,
    require_round,
)
from fedgestalt.exchange.server.bodies import read_body
from fedgestalt.exchange.server.messages import topic
from fedgestalt.exchange.server.state import CHANGES, ServerState
from fedgestalt.exchange.storage import BlobInfo, BlobStatus
from fedgestalt.exchange.storage.values import MAX_CHUNK_BYTES
from fedgestalt.exchange.tokens import Role

_RANGE: Final = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")

router = APIRouter()
Offset = Annotated[int, Query(ge=0, lt=1 << 50)]


async def _check(state: ServerState, caller: Caller, round_uid: str, digest: str) -> None:
    check_digest(digest)
    await require_round(state, caller, round_uid)


def _progress(status: BlobStatus, code: int = 204) -> Response:
    headers = {
        "Upload-Offset": str(status.offset),
        "Upload-Complete": "?1" if status.complete else "?0",
        "Cache-Control": "no-store",
    }
    return Response(status_code=code, headers=headers)


@router.head("/rounds/{round_uid}/blobs/{digest}")
async def blob_progress(round_uid: str, digest: str, state: State, caller: Authenticated) -> Response:
    """How far the caller's upload is; complete blobs are so for everybody."""
    await _check(state, caller, round_uid, digest)
    return _progress(await run_in_threadpool(state.storage.blob_status, round_uid, digest, caller.owner))


@router.put("/rounds/{round_uid}/blobs/{digest}")
async def put_chunk(
    round_uid: str,
    digest: str,
    request: Request,
    state: State,
    caller: Authenticated,
    offset: Offset,
    last: Annotated[str, Header(alias="Upload-Complete")] = "?0",
) -> Response:
    """Add a chunk of at most 1 MiB at ``offset``, which must be where the upload ends.

    With ``Upload-Complete: ?1`` it is the last one, or the whole blob: it is verified and published as well.
    """
    await _check(state, caller, round_uid, digest)
    data = await read_body(request, MAX_CHUNK_BYTES)
    storage, place = state.storage, (round_uid, digest, caller.owner)
    if last != "?1":
        return _progress(await run_in_threadpool(storage.write_chunk, *place, offset, data))

    def finish() -> bool:
        if offset == 0:
            return storage.put_blob(*place, data)
        known = storage.write_chunk(*place, offset, data)
        return not known.complete and storage.complete_blob(*place)

    if await run_in_threadpool(finish):
        state.waiting.notify(topic(round_uid), CHANGES)
    return _progress(BlobStatus(offset + len(data), complete=True))


@router.post("/rounds/{round_uid}/blobs/{digest}/complete")
async def complete_blob(round_uid: str, digest: str, state: State, caller: Authenticated) -> Response:
    """Verify the digest of what was sent and publish it; messages that waited for it become complete."""
    await _check(state, caller, round_uid, digest)
    if await run_in_threadpool(state.storage.complete_blob, round_uid, digest, caller.owner):
        state.waiting.notify(topic(round_uid), CHANGES)
    return Response(status_code=204)


@router.get("/rounds/{round_uid}/blobs/{digest}")
async def get_blob(
    round_uid: str,
    digest: str,
    state: State,
    caller: Authenticated,
    wanted: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """A complete blob, or one range of it of at most 1 MiB (RFC 9110, section 14)."""
    await _check(state, caller, round_uid, digest)
    info = await run_in_threadpool(state.storage.blob, round_uid, digest)
    _require_readable(caller, info, digest)
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-store", "ETag": f'"{digest}"'}
    media = "application/octet-stream"
    if wanted is None:
        headers["Content-Length"] = str(info.length)
        whole = _stream(state, round_uid, digest, info.length)
        return StreamingResponse(whole, headers=headers, media_type=media)
    start, length = _range(wanted, info.length)
    data = await run_in_threadpool(state.storage.read_blob, round_uid, digest, start, length)
    headers["Content-Range"] = f"bytes {start}-{start + len(data) - 1}/{info.length}"
    return Response(data, 206, headers=headers, media_type=media)


@router.delete("/rounds/{round_uid}/blobs/{digest}")
async def delete_blob(round_uid: str, digest: str, state: State, caller: Authenticated) -> Response:
    """Remove a blob's bytes after its use; its digest stays."""
    require_role(caller, Role.HUB)
    await _check(state, caller, round_uid, digest)
    await run_in_threadpool(state.storage.delete_blob, round_uid, digest)
    return Response(status_code=204)


def _require_readable(caller: Caller, info: BlobInfo, digest: str) -> None:
    # Masked vectors and rows are for the hub's jobs. No silo needs another's, so none gets it.
    if caller.role is Role.SILO and info.owner.startswith(f"{Role.SILO}.") and info.owner != caller.owner:
        raise refused(Code.FORBIDDEN, f"blob {digest} was sent by another silo")


def _range(header: str, length: int) -> tuple[int, int]:
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        raise refused(Code.RANGE_INVALID, "only one range of the form bytes=first-last is served")
    start = int(match[1])
    end = min(int(match[2]) if match[2] else length - 1, length - 1)
    if start > end:
        raise refused(Code.RANGE_INVALID, f"bytes from {start} of a blob of {length}")
    return start, min(end - start + 1, MAX_CHUNK_BYTES)


async def _stream(state: ServerState, round_uid: str, digest: str, length: int) -> AsyncIterator[bytes]:
    for start in range(0, length, MAX_CHUNK_BYTES):
        yield await run_in_threadpool(state.storage.read_blob, round_uid, digest, start, MAX_CHUNK_BYTES)
