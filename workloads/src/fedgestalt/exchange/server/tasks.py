"""Routes of the link: tasks down, their status and heartbeats up, silos' presence for the hub."""

from __future__ import annotations

import json
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.server.auth import (
    TASK,
    Authenticated,
    State,
    require_role,
    require_unbound,
)
from fedgestalt.exchange.server.bodies import read_json_object
from fedgestalt.exchange.server.messages import Number, Wait
from fedgestalt.exchange.storage import Task
from fedgestalt.exchange.tokens import Role
from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.schemas import check_name

MAX_TASK_BYTES: Final = 64 * 1024
MAX_HEARTBEAT_BYTES: Final = 1024

router = APIRouter()


def _topic(silo: str) -> str:
    return f"tasks/{silo}"


def _check_names(silo: str, name: str | None = None) -> None:
    try:
        check_name(silo)
    except MessageError as error:
        raise refused(Code.INVALID, str(error)) from error
    if name is not None and not TASK.fullmatch(name):
        raise refused(Code.INVALID, "a task's name is a DNS subdomain of at most 253 characters")


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _listing(tasks: tuple[Task, ...], revision: int) -> Response:
    items = [
        {
            "name": task.name,
            "spec": json.loads(task.spec),
            "status": json.loads(task.status),
            "revision": task.revision,
        }
        for task in tasks
    ]
    return JSONResponse({"tasks": items, "revision": revision})


@router.put("/silos/{silo}/tasks/{name}")
async def put_task(silo: str, name: str, request: Request, state: State, caller: Authenticated) -> Response:
    """The hub gives a silo a task or changes its spec."""
    require_role(caller, Role.HUB)
    _check_names(silo, name)
    spec = _canonical(await read_json_object(request, MAX_TASK_BYTES))
    task = await run_in_threadpool(state.storage.put_task, silo, name, spec)
    state.waiting.notify(_topic(silo))
    return JSONResponse({"revision": task.revision})


@router.delete("/silos/{silo}/tasks/{name}")
async def delete_task(silo: str, name: str, state: State, caller: Authenticated) -> Response:
    """The hub takes a task back."""
    require_role(caller, Role.HUB)
    _check_names(silo, name)
    await run_in_threadpool(state.storage.delete_task, silo, name)
    state.waiting.notify(_topic(silo))
    return Response(status_code=204)


@router.get("/silos/{silo}/tasks")
async def hub_tasks(silo: str, state: State, caller: Authenticated) -> Response:
    """The hub reads a silo's tasks with their status."""
    require_role(caller, Role.HUB)
    _check_names(silo)
    return _listing(*await run_in_threadpool(state.storage.tasks, silo))


@router.get("/tasks")
async def own_tasks(state: State, caller: Authenticated, after: Number = 0, wait: Wait = 0.0) -> Response:
    """A silo reads its tasks; waits until its list's revision is not ``after`` any more."""
    require_role(caller, Role.SILO)
    require_unbound(caller)

    async def read() -> tuple[tuple[Task, ...], int]:
        return await run_in_threadpool(state.storage.tasks, caller.name)

    tasks, revision = await state.waiting.until(
        _topic(caller.name), read, lambda listed: listed[1] != after, wait
    )
    return _listing(tasks, revision)


@router.put("/tasks/{name}/status")
async def put_task_status(name: str, request: Request, state: State, caller: Authenticated) -> Response:
    """A silo says how its task stands."""
    require_role(caller, Role.SILO)
    require_unbound(caller)
    _check_names(caller.name, name)
    status = _canonical(await read_json_object(request, MAX_TASK_BYTES))
    await run_in_threadpool(state.storage.put_task_status, caller.name, name, status)
    return Response(status_code=204)


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
            "identity": silo.identity.hex(),
            "accepted": silo.accepted,
            "lastHeard": presence.heard.get(name),
            "version": presence.version.get(name, ""),
        }
        for name, silo in sorted(state.registry.silos().items())
    ]
    now = state.settings.clock()
    return JSONResponse({"silos": listed, "now": now, "servingSince": presence.since})
