"""Routes of the hub's operator: what changed, and the tasks of a round over all its silos."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.server.auth import Authenticated, State, check_round, require_role, require_unbound
from fedgestalt.exchange.server.bodies import read_json_object
from fedgestalt.exchange.server.messages import Number, Wait
from fedgestalt.exchange.server.state import CHANGES
from fedgestalt.exchange.server.tasks import (
    MAX_TASK_BYTES,
    canonical,
    check_names,
    round_of,
    task_items,
    task_topic,
)
from fedgestalt.exchange.storage import ChangeSet, NewTask
from fedgestalt.exchange.tokens import Role

MAX_BATCH: Final = 256
"""Tasks of one batch: a round has at most 128 silos."""
MAX_BATCH_BYTES: Final = 4 << 20

router = APIRouter()


@router.get("/changes")
async def changes(state: State, caller: Authenticated, after: Number = 0, wait: Wait = 0.0) -> Response:
    """Uids of rounds whose board or whose tasks' status changed after revision ``after``.

    One poll for all rounds: waits up to ``wait`` seconds for the first change.
    """
    require_role(caller, Role.HUB)

    def ready(found: ChangeSet) -> bool:
        return found.everything or bool(found.rounds)

    found = await state.waiting.until(
        CHANGES, lambda: run_in_threadpool(state.storage.changes, after), ready, wait
    )
    return JSONResponse(
        {"rounds": sorted(found.rounds), "revision": found.revision, "everything": found.everything}
    )


@router.get("/rounds")
async def rounds(state: State, caller: Authenticated) -> Response:
    """Uids of the rounds that have tasks, whoever gave them: a hub finds those that it has to take back."""
    require_role(caller, Role.HUB)
    require_unbound(caller)
    return JSONResponse({"rounds": sorted(await run_in_threadpool(state.storage.task_rounds))})


@router.get("/rounds/{round_uid}/tasks")
async def round_tasks(round_uid: str, state: State, caller: Authenticated) -> Response:
    """A round's tasks of all silos, with their status."""
    require_role(caller, Role.HUB)
    check_round(caller, round_uid)
    return JSONResponse({"tasks": task_items(await run_in_threadpool(state.storage.round_tasks, round_uid))})


@router.put("/rounds/{round_uid}/tasks")
async def put_round_tasks(round_uid: str, request: Request, state: State, caller: Authenticated) -> Response:
    """Give a round's silos their tasks, all or none: ``{"tasks": [{"silo", "name", "spec"}]}``."""
    require_role(caller, Role.HUB)
    check_round(caller, round_uid)
    content = await read_json_object(request, MAX_BATCH_BYTES)
    changed = await run_in_threadpool(lambda: state.storage.put_tasks(round_uid, _batch(content, round_uid)))
    state.waiting.notify(*map(task_topic, changed))
    return Response(status_code=204)


@router.delete("/rounds/{round_uid}/tasks")
async def delete_round_tasks(round_uid: str, state: State, caller: Authenticated) -> Response:
    """Take all tasks of a round back."""
    require_role(caller, Role.HUB)
    check_round(caller, round_uid)
    changed = await run_in_threadpool(state.storage.delete_round_tasks, round_uid)
    state.forget(round_uid)
    state.waiting.notify(*map(task_topic, changed))
    return Response(status_code=204)


def _batch(content: dict[str, Any], round_uid: str) -> list[NewTask]:
    items = content.get("tasks")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise refused(Code.INVALID, "tasks must be a list of objects")
    if len(items) > MAX_BATCH:
        raise refused(Code.TOO_LARGE, f"{len(items)} tasks, a batch holds at most {MAX_BATCH}")
    return [_new_task(item, round_uid) for item in items]


def _new_task(item: dict[str, Any], round_uid: str) -> NewTask:
    silo, name, spec = item.get("silo"), item.get("name"), item.get("spec")
    if not isinstance(silo, str) or not isinstance(name, str) or not isinstance(spec, dict):
        raise refused(Code.INVALID, "a task of a batch has silo, name and spec")
    check_names(silo, name)
    if round_of(spec) != round_uid:
        raise refused(Code.INVALID, f"the spec of task {name!r} must name round {round_uid} as roundUID")
    data = canonical(spec)
    if len(data) > MAX_TASK_BYTES:
        raise refused(Code.TOO_LARGE, f"task {name!r} has {len(data)} bytes, allowed are {MAX_TASK_BYTES}")
    return NewTask(silo, name, data)
