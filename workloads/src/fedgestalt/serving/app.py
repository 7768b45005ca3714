"""The application: routes, probes, OpenAPI, and errors as problem+json (RFC 9457)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from fedgestalt import __version__
from fedgestalt.flake.bands import BANDS
from fedgestalt.serving import answers, examples
from fedgestalt.serving.analyses import Analyses, describe_model
from fedgestalt.serving.guard import Guard
from fedgestalt.serving.loading import Loading
from fedgestalt.serving.problems import PROBLEMS, Code, Problem
from fedgestalt.serving.uploads import FORM, PART, TYPES, read_photo

_DESCRIPTION: Final = (
    "Answers a portrait with ranked syndromes of the hospital's own gallery and of the federation's. "
    "The portrait is kept in memory for the time of the request. " + answers.NOTICE
)
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The photo: its bytes, or a form with the part `photo`. JPEG or PNG, at most 16 MiB.",
        "content": {
            **dict.fromkeys(TYPES, _BINARY),
            FORM: {
                "schema": {
                    "type": "object",
                    "required": [PART],
                    "properties": {PART: {"type": "string", "format": "binary"}},
                },
                "encoding": {PART: {"contentType": ", ".join(TYPES)}},
            },
        },
    }
}

router = APIRouter()


def _problems(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's responses for these codes, by status, each with an example."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, title, _ = PROBLEMS[code]
        entry = responses.setdefault(
            status,
            {
                "model": answers.ProblemDocument,
                "description": "",
                "content": {"application/problem+json": {}},
            },
        )
        entry["description"] = "; ".join(filter(None, (entry["description"], f"`{code}`: {title}")))
        listed = entry["content"]["application/problem+json"].setdefault("examples", {})
        listed[str(code)] = {"value": examples.problem(code)}
    return responses


@router.post(
    "/v1/analyses",
    response_model=answers.Analysis,
    summary="Find syndromes whose cases resemble a photo",
    openapi_extra=_BODY,
    responses={
        200: {"content": {"application/json": {"examples": examples.ANALYSES}}},
        **_problems(
            Code.PHOTO_MISSING,
            Code.FOREIGN_PAGE,
            Code.UPLOAD_TIMED_OUT,
            Code.PHOTO_TOO_LARGE,
            Code.PHOTO_TYPE_UNSUPPORTED,
            Code.PHOTO_UNREADABLE,
            Code.PHOTO_UNFIT,
            Code.INTERNAL,
            Code.BUSY,
            Code.NOT_READY,
        ),
    },
)
async def analyse(
    request: Request,
    response: Response,
    proceed: Annotated[
        bool,
        Query(description="Go on despite findings, with the largest face. Without a face nothing goes on."),
    ] = False,
) -> answers.Analysis:
    """Detect, check, align and encode the face, then rank syndromes by their nearest photo: `local` in the hospital's
    own gallery, `federated` in the other silos'. Where the federation does not answer within two seconds or refuses,
    `federated` is null and `notices` says why. Candidates are not diagnoses.
    """
    response.headers["Cache-Control"] = "no-store"
    analyses = _loading(request).analyses
    with analyses.place():
        return await analyses.analyse(await read_photo(request), proceed=proceed)


@router.get("/v1/release", summary="What is served", responses=_problems(Code.NOT_READY))
async def release(request: Request) -> answers.ReleaseInfo:
    """Release, model, epoch and galleries behind the answers."""
    analyses = _loading(request).analyses
    served = analyses.release
    return answers.ReleaseInfo(
        notice=answers.NOTICE,
        digest=served.digest,
        name=served.name,
        operation=served.operation,
        parents=list(served.parents),
        epoch=served.epoch,
        silo=served.silo,
        model=describe_model(served),
        gallery=analyses.describe_gallery(),
        syndromes=len(served.tokens),
        bands=BANDS,
        federation=analyses.federated,
        software=__version__,
    )


@router.get("/healthz", summary="The process answers")
async def healthz() -> answers.Health:
    """For liveness probes."""
    return answers.Health(status="ok")


@router.get(
    "/readyz", summary="The release is verified, loaded and warm", responses=_problems(Code.NOT_READY)
)
async def readyz(request: Request) -> answers.Health:
    """For readiness probes: 200 once manifest and bundle had their digests and one pass went through."""
    _ = _loading(request).analyses
    return answers.Health(status="ok")


def create_app(
    load: Callable[[], Analyses],
    *,
    hosts: Collection[str] = (),
    loaded: Callable[[str | None], None] = lambda failure: None,
) -> FastAPI:
    """The inference service.

    Args:
        load: verifies and loads what is served, in a thread, after the probes answer; may raise `ReleaseError`.
        hosts: names that the service is called by (``Host``); empty: any.
        loaded: called once when loading has ended, with the reason if it failed.
    """
    loading = Loading(load)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(loading.run(lambda: loaded(loading.failure)))
        yield
        task.cancel()

    app = FastAPI(
        title="fedgestalt inference",
        version=__version__,
        summary="Research use only.",
        description=_DESCRIPTION,
        docs_url=None,  # those pages load scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.loading = loading
    app.include_router(router)
    app.add_middleware(Guard, hosts=hosts)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    return app


def _loading(request: Request) -> Loading:
    loading = request.app.state.loading
    assert isinstance(loading, Loading)
    return loading


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = ", ".join(".".join(str(part) for part in item["loc"]) for item in error.errors())
    return Problem(Code.INVALID, f"malformed or missing: {fields}").response()


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}.get(error.status_code, Code.INVALID)
    return Problem(code, f"{request.method} {request.url.path}").response()
