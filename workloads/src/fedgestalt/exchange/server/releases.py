"""Routes of releases: the hub writes each once, sites wait for those whose silos they are among."""

from __future__ import annotations

import json
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.server.auth import RESOURCE, Authenticated, State, require_role, require_unbound
from fedgestalt.exchange.server.bodies import read_json_object
from fedgestalt.exchange.server.messages import Number, Wait
from fedgestalt.exchange.server.tasks import canonical, check_names
from fedgestalt.exchange.storage import StoredRelease
from fedgestalt.exchange.tokens import Role

MAX_RELEASE_BYTES: Final = 64 * 1024
MAX_SILOS: Final = 128
_TOPIC: Final = "releases"

router = APIRouter()


@router.put("/releases/{name}")
async def put_release(name: str, request: Request, state: State, caller: Authenticated) -> Response:
    """The hub keeps a Release's spec for the sites that ``spec.silos`` names; written once."""
    require_role(caller, Role.HUB)
    if not RESOURCE.fullmatch(name):
        raise refused(Code.INVALID, "a release's name is a DNS subdomain of at most 253 characters")
    spec = await read_json_object(request, MAX_RELEASE_BYTES)
    silos = _silos(spec)
    if await run_in_threadpool(state.storage.put_release, name, canonical(spec), silos):
        state.waiting.notify(_TOPIC)
    return Response(status_code=204)


@router.get("/releases")
async def list_releases(state: State, caller: Authenticated, after: Number = 0, wait: Wait = 0.0) -> Response:
    """All releases that the caller may see; waits until the list's revision is not ``after`` any more."""
    require_role(caller, Role.SILO, Role.HUB)
    require_unbound(caller)

    def read() -> tuple[tuple[StoredRelease, ...], int]:
        if caller.role is Role.HUB:
            return state.storage.releases(None)
        # Once more after the wait: a silo that was revoked meanwhile learns nothing new.
        state.registry.identities(caller.name, now=state.settings.clock())
        return state.storage.releases(caller.name)

    found, revision = await state.waiting.until(
        _TOPIC, lambda: run_in_threadpool(read), lambda listed: listed[1] != after, wait
    )
    items = [{"name": release.name, "spec": json.loads(release.spec)} for release in found]
    return JSONResponse({"releases": items, "revision": revision})


def _silos(spec: dict[str, Any]) -> list[str]:
    silos = spec.get("silos")
    if not isinstance(silos, list) or not 1 <= len(silos) <= MAX_SILOS:
        raise refused(Code.INVALID, f"spec.silos must be a list of 1 to {MAX_SILOS} names")
    for silo in silos:
        if not isinstance(silo, str):
            raise refused(Code.INVALID, "spec.silos must hold names")
        check_names(silo)
    return silos
