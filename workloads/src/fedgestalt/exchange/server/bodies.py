"""Request bodies, read with their limit before anything looks at them."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from fedgestalt.exchange.errors import Code, refused

CBOR = "application/cbor"


async def read_body(request: Request, limit: int) -> bytes:
    """The body of at most ``limit`` bytes; a larger one is refused before it is read whole.

    Raises:
        RefusedError: TooLarge.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise refused(Code.TOO_LARGE, f"{announced} bytes, allowed are {limit}")
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            if len(data) > limit:
                raise refused(Code.TOO_LARGE, f"more than the {limit} bytes allowed")
    except (
        ClientDisconnect
    ) as error:  # nobody reads this answer; it keeps a cut line from looking like a failure
        raise refused(Code.INVALID, "the connection ended before the body did") from error
    return bytes(data)


async def read_json_object(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        RefusedError: TooLarge or Invalid.
    """
    data = await read_body(request, limit)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise refused(Code.INVALID, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise refused(Code.INVALID, "the body is not a JSON object")
    return value
