"""Around the routes: foreign pages and hosts are turned away, and a failure is logged without what caused it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedgestalt.serving.problems import Code, Problem

_SAFE: Final = ("GET", "HEAD")
_log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware.

    A page of another site may not make a clinician's browser send photos here: it could not read the answer, but it
    would spend the epoch's budget. Browsers say where a request comes from (Fetch Metadata, Sec-Fetch-Site), and a name
    that was rebound to this address (DNS rebinding) shows in Host.

    An exception's text can quote what it was given, so the log gets its type and place only, and the server above
    never sees it.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        """``hosts``: names that the service is called by; empty: any."""
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if refusal := self._refusal(scope["method"], Headers(scope=scope)):
            await refusal.response()(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error(
                "%s %s failed: %s at %s:%s",
                scope["method"],
                scope["path"],
                type(error).__name__,
                place.filename,
                place.lineno,
            )
            if not started:
                await Problem(Code.INTERNAL, type(error).__name__).response()(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> Problem | None:
        # A link from another site to a page here is no harm.
        if method not in _SAFE and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return Problem(Code.FOREIGN_PAGE, "the request was made by another site's page")
        if self._hosts and _host(headers.get("host", "")) not in self._hosts:
            return Problem(Code.FOREIGN_PAGE, "the Host header is not a name of this service")
        return None


def _host(value: str) -> str:
    name, _, port = value.rpartition(":")
    return name if port.isdecimal() and name else value
