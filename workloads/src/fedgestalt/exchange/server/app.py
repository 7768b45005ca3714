"""Puts the application together: routes under /v1, health, and errors as problem+json (RFC 9457)."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from fedgestalt import __version__
from fedgestalt.exchange.epochs.service import EpochService
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.errors import PROBLEMS, Code, RefusedError, refused
from fedgestalt.exchange.registry import Registry
from fedgestalt.exchange.server import blobs, epochs, feed, messages, presence, registry, releases, tasks
from fedgestalt.exchange.server.state import Presence, ServerSettings, ServerState
from fedgestalt.exchange.server.waiting import Waiting
from fedgestalt.exchange.storage import BoardStorage

__all__ = ["ServerSettings", "create_app"]

PROBLEM_TYPE: Final = "urn:fedgestalt:problem:"
_log = logging.getLogger(__name__)


def create_app(
    settings: ServerSettings, storage: BoardStorage, epoch_store: EpochStore | None = None
) -> FastAPI:
    """The exchange over ``storage``. One process serves it: waiters are woken in memory.

    With ``epoch_store`` the query service of its epochs is beside the board.
    """
    app = FastAPI(
        title="fedgestalt exchange", version=__version__, docs_url=None, redoc_url=None, lifespan=_lifespan
    )
    app.state.shared = ServerState(
        settings=settings,
        storage=storage,
        registry=Registry(settings.silos),
        waiting=Waiting(),
        presence=Presence(since=settings.clock()),
    )
    app.state.epochs = None if epoch_store is None else EpochService(epoch_store)
    for part in (messages, blobs, tasks, presence, feed, registry, releases, epochs):
        app.include_router(part.router, prefix="/v1")
    app.add_api_route("/healthz", _alive, methods=["GET"], include_in_schema=False)
    app.add_api_route("/readyz", _ready, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(RefusedError, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_failure)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: EpochService | None = app.state.epochs
    if service is not None:
        threading.Thread(target=service.warm, name="warm-epochs", daemon=True).start()
    yield


async def _alive() -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    """Storage and registry can be read."""
    state: ServerState = request.app.state.shared
    await run_in_threadpool(state.storage.tasks, "readiness")
    state.registry.silos()
    return JSONResponse({"status": "ok", "version": __version__})


def problem(error: RefusedError, now: float) -> Response:
    """The response that carries an error; ``now`` (seconds) lets clients see a skewed clock."""
    status, title, fix = PROBLEMS[error.code]
    content: dict[str, Any] = {
        "type": PROBLEM_TYPE + error.code,
        "title": title,
        "status": status,
        "detail": error.detail,
        "code": str(error.code),
        "fix": fix,
        "now": now,
    }
    # The code stands in a header too: answers to HEAD have no body.
    headers = {"Cache-Control": "no-store", "Problem-Code": str(error.code)}
    if error.offset is not None:
        content["offset"] = error.offset
    if error.successor is not None:
        content["successor"] = error.successor
    if error.retry_after is not None:
        content["retryAfter"] = error.retry_after
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")


def _now(request: Request) -> float:
    state: ServerState = request.app.state.shared
    return state.settings.clock()


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    if error.status >= 500:
        _log.warning("%s %s: %s", request.method, request.url.path, error)
    return problem(error, _now(request))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = ", ".join(".".join(str(part) for part in item["loc"]) for item in error.errors())
    return problem(refused(Code.INVALID, f"malformed or missing: {fields}"), _now(request))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = Code.NOT_FOUND if error.status_code in (404, 405) else Code.INVALID
    return problem(refused(code, f"{request.method} {request.url.path}"), _now(request))


async def _on_failure(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(refused(Code.INTERNAL, type(error).__name__), _now(request))
