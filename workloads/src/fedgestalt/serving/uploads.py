"""Taking a photo out of a request: bounded in size and time, and never on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from fedgestalt.serving.problems import Code, Problem

MAX_BYTES: Final = 16 << 20
TIMEOUT: Final = 60.0
"""Seconds that an upload may take."""
TYPES: Final = ("image/jpeg", "image/png")
FORM: Final = "multipart/form-data"
PART: Final = "photo"
_FORM_OVERHEAD: Final = 64 << 10


class _InMemory(MultiPartParser):
    spool_max_size = MAX_BYTES + _FORM_OVERHEAD + 1  # beyond what is accepted: nothing is spooled to disk


async def read_photo(request: Request) -> bytes:
    """The bytes of the photo in a request: its body, or the part ``photo`` of a form.

    Raises:
        Problem: PhotoTypeUnsupported, PhotoTooLarge, PhotoMissing, UploadTimedOut or Invalid.
    """
    kind = _kind(request.headers.get("content-type"))
    try:
        async with asyncio.timeout(TIMEOUT):
            if kind == FORM:
                photo = await _from_form(request)
            elif kind in TYPES:
                photo = b"".join([chunk async for chunk in _limited(request, MAX_BYTES)])
            else:
                raise Problem(
                    Code.PHOTO_TYPE_UNSUPPORTED, "the Content-Type is no type of photo that is read"
                )
    except TimeoutError:
        raise Problem(Code.UPLOAD_TIMED_OUT, f"the photo was not here after {TIMEOUT:g} s") from None
    except ClientDisconnect:
        raise Problem(Code.INVALID, "the connection was closed before the photo was here") from None
    if not photo:
        raise Problem(Code.PHOTO_MISSING, "the body or the part `photo` is empty")
    return photo


def _kind(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    stated = request.headers.get("content-length", "")
    total = int(stated) if stated.isdecimal() and len(stated) < 19 else 0
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if max(total, received) > limit:
            raise Problem(Code.PHOTO_TOO_LARGE, f"at most {MAX_BYTES} bytes are read")
        yield chunk


async def _from_form(request: Request) -> bytes:
    stream = _limited(request, MAX_BYTES + _FORM_OVERHEAD)
    try:
        form: FormData = await _InMemory(request.headers, stream, max_files=1, max_fields=0).parse()
    except (MultiPartException, UnicodeDecodeError):
        raise Problem(
            Code.INVALID, f"not a multipart form with one part `{PART}` that has a file name"
        ) from None
    try:
        part = form.get(PART)
        if not isinstance(part, UploadFile):
            raise Problem(Code.PHOTO_MISSING, f"the form has no file in a part `{PART}`")
        if _kind(part.content_type) not in TYPES:
            raise Problem(Code.PHOTO_TYPE_UNSUPPORTED, f"the part `{PART}` is no type of photo that is read")
        photo = await part.read()
        if len(photo) > MAX_BYTES:
            raise Problem(Code.PHOTO_TOO_LARGE, f"at most {MAX_BYTES} bytes are read")
        return photo
    finally:
        await form.close()
