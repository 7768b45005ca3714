"""Routes of the registry: an operator in another pod says which silos are let in."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from fedgestalt.exchange.registry import registry_document
from fedgestalt.exchange.server.auth import Authenticated, State, require_role
from fedgestalt.exchange.server.bodies import read_json_object
from fedgestalt.exchange.tokens import Role

MAX_REGISTRY_BYTES: Final = 1 << 20

router = APIRouter()


@router.get("/registry")
async def get_registry(state: State, caller: Authenticated) -> Response:
    """The registry as it stands, in the form of its file."""
    require_role(caller, Role.HUB)
    return JSONResponse(registry_document(await run_in_threadpool(state.registry.silos)))


@router.put("/registry")
async def put_registry(request: Request, state: State, caller: Authenticated) -> Response:
    """Replace the registry as a whole: whoever it does not let in is refused at the next request."""
    require_role(caller, Role.HUB)
    document = await read_json_object(request, MAX_REGISTRY_BYTES)
    await run_in_threadpool(state.registry.replace, document)
    return Response(status_code=204)
