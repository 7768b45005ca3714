"""Routes of the link: tasks down, their status up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.server.auth import (
    RESOURCE,
    ROUND,
    Authenticated,
    State,
    require_role,
    require_unbound,
)
from fedgestalt.exchange.server.bodies import read_json_object
from fedgestalt.exchange.server.messages import Number, Wait
from fedgestalt.exchange.server.state import CHANGES
from fedgestalt.exchange.storage import Task
from fedgestalt.exchange.tokens import Role
from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.schemas import check_name

MAX_TASK_BYTES: Final = 64 * 1024

router = APIRouter()


def task_topic(silo: str) -> str:
    """What waiters for a silo's tasks wait for."""
    return f"tasks/{silo}"


def check_names(silo: str, name: str | None = None) -> None:
    try:
        check_name(silo)
    except MessageError as error:
        raise refused(Code.INVALID, str(error)) from error
    if name is not None and not RESOURCE.fullmatch(name):
        raise refused(Code.INVALID, "a task's name is a DNS subdomain of at most 253 characters")


def canonical(document: dict[str, Any]) -> bytes:
    """Equal documents as equal bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def round_of(spec: Mapping[str, Any]) -> str:
    """The round that a task belongs to by its spec; empty: none.

    Raises:
        RefusedError: Invalid.
    """
    found = spec.get("roundUID", "")
    if found == "":
        return ""
    if not isinstance(found, str) or not ROUND.fullmatch(found):
        raise refused(Code.INVALID, "a task's spec.roundUID is the uid of its round")
    return found


def _listing(tasks: Sequence[Task], revision: int) -> Response:
    return JSONResponse({"tasks": task_items(tasks), "revision": revision})


def task_items(tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """Tasks as they travel."""
    return [
        {
            "silo": task.silo,
            "name": task.name,
            "spec": json.loads(task.spec),
            "status": json.loads(task.status),
            "revision": task.revision,
        }
        for task in tasks
    ]


@router.put("/silos/{silo}/tasks/{name}")
async def put_task(silo: str, name: str, request: Request, state: State, caller: Authenticated) -> Response:
    """The hub gives a silo a task or changes its spec."""
    require_role(caller, Role.HUB)
    check_names(silo, name)
    spec = await read_json_object(request, MAX_TASK_BYTES)
    put = partial(state.storage.put_task, round_uid=round_of(spec))
    task = await run_in_threadpool(put, silo, name, canonical(spec))
    state.waiting.notify(task_topic(silo))
    return JSONResponse({"revision": task.revision})


@router.delete("/silos/{silo}/tasks/{name}")
async def delete_task(silo: str, name: str, state: State, caller: Authenticated) -> Response:
    """The hub takes a task back."""
    require_role(caller, Role.HUB)
    check_names(silo, name)
    await run_in_threadpool(state.storage.delete_task, silo, name)
    state.waiting.notify(task_topic(silo))
    return Response(status_code=204)


@router.get("/silos/{silo}/tasks")
async def hub_tasks(silo: str, state: State, caller: Authenticated) -> Response:
    """The hub reads a silo's tasks with their status."""
    require_role(caller, Role.HUB)
    check_names(silo)
    return _listing(*await run_in_threadpool(state.storage.tasks, silo))


@router.get("/tasks")
async def own_tasks(state: State, caller: Authenticated, after: Number = 0, wait: Wait = 0.0) -> Response:
    """A silo reads its tasks; waits until its list's revision is not ``after`` any more."""
    require_role(caller, Role.SILO)
    require_unbound(caller)

    def read() -> tuple[tuple[Task, ...], int]:
        # Once more after the wait: a silo that was revoked meanwhile learns nothing new.
        state.registry.identities(caller.name, now=state.settings.clock())
        return state.storage.tasks(caller.name)

    tasks, revision = await state.waiting.until(
        task_topic(caller.name), lambda: run_in_threadpool(read), lambda listed: listed[1] != after, wait
    )
    return _listing(tasks, revision)


@router.put("/tasks/{name}/status")
async def put_task_status(name: str, request: Request, state: State, caller: Authenticated) -> Response:
    """A silo says how its task stands."""
    require_role(caller, Role.SILO)
    require_unbound(caller)
    check_names(caller.name, name)
    status = canonical(await read_json_object(request, MAX_TASK_BYTES))
    if await run_in_threadpool(state.storage.put_task_status, caller.name, name, status):
        state.waiting.notify(CHANGES)
    return Response(status_code=204)
