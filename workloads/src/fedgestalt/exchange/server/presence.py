"""Routes of presence: silos say that they are there, the hub reads who was heard when."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.server.auth import Authenticated, State, require_role
from fedgestalt.exchange.server.bodies import read_json_object
from fedgestalt.exchange.tokens import Role

MAX_HEARTBEAT_BYTES: Final = 1024

router = APIRouter()


@router.post("/heartbeat")
async def heartbeat(request: Request, state: State, caller: Authenticated) -> Response:
    """A silo is there. Its software's version may be in the body: ``{"version": "0.3.0"}``."""
    require_role(caller, Role.SILO)
    version = (await read_json_object(request, MAX_HEARTBEAT_BYTES)).get("version", "")
    if not isinstance(version, str) or len(version) > 64:
        raise refused(Code.INVALID, "a version is text of at most 64 characters")
    state.presence.version[caller.name] = version
    return Response(status_code=204)


@router.get("/silos")
async def silos(state: State, caller: Authenticated) -> Response:
    """The hub reads when each registered silo was last heard, in seconds of the exchange's clock.

    After a restart ``lastHeard`` is null until the silo speaks, which it could since ``servingSince``.
    """
    require_role(caller, Role.HUB)
    presence = state.presence
    listed = [
        {
            "name": name,
            "identities": [one.key.hex() for one in silo.identities],
            "accepted": silo.accepted,
            "lastHeard": presence.heard.get(name),
            "version": presence.version.get(name, ""),
        }
        for name, silo in sorted(state.registry.silos().items())
    ]
    now = state.settings.clock()
    return JSONResponse({"silos": listed, "now": now, "servingSince": presence.since})
