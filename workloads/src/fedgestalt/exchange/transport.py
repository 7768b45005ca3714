"""HTTP to the exchange: one kept-alive connection pool, bounded retries, problems turned into exceptions."""

from __future__ import annotations

import contextlib
import os
import random
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from fedgestalt.exchange.errors import Code, ExchangeError, RefusedError, UnreachableError, refused
from fedgestalt.exchange.tokens import Credential

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 15.0
_POLL_MARGIN: Final = 10.0
EXTRA_CA_VARIABLE: Final = "FEDGESTALT_EXTRA_CA"
"""Names a file of authorities that a site trusts besides the exchange's own: those of a proxy that opens TLS."""


class Transport:
    """Sends requests until they are answered, refused, or the deadline is over. Safe for threads.

    Connection errors and 5xx answers are tried again with growing, jittered pauses: every request of this
    protocol may be repeated. A 4xx answer is final.
    ``HTTPS_PROXY`` and ``NO_PROXY`` of the environment are honoured; loopback is never reached by a proxy.
    """

    def __init__(
        self,
        url: str,
        ca_file: Path,
        credential: Credential,
        *,
        deadline: float,
        extra_ca: Path | None = None,
    ) -> None:
        """
        Args:
            ca_file: the exchange's own authority. The machine's other authorities are not trusted.
            deadline: seconds that one call may take in all, waiting for the exchange included.
            extra_ca: authorities of the site's proxy, if it opens TLS, in PEM form; None: the file that
                ``FEDGESTALT_EXTRA_CA`` names, if it does. Such a proxy sees tokens and messages, and
                cannot alter what the hub and the silos signed.

        Raises:
            ExchangeError: not https, or a file that holds no certificates.
        """
        if not url.startswith("https://"):
            raise ExchangeError(f"{url}: the exchange is reached by https only")
        context = _trusting(ca_file, extra_ca)
        self._url = url.rstrip("/")
        self._credential = credential
        self._deadline = deadline
        # A proxy cannot reach this machine's own loopback, whatever the environment says.
        direct = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}
        self._client = httpx.Client(verify=context, follow_redirects=False, mounts=direct)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | float] | None = None,
        content: bytes | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        poll: float = 0.0,
    ) -> httpx.Response:
        """Send one request below ``/v1``; ``poll`` seconds of a long poll are added to the times allowed.

        Raises:
            RefusedError: the exchange refused, or its disk stayed full for the whole deadline.
            UnreachableError: no useful answer within the deadline.
        """
        end = time.monotonic() + self._deadline + poll
        pause = _FIRST_PAUSE
        while True:
            failure, final = self._attempt(method, path, end, poll, params, content, json, headers)
            if isinstance(failure, httpx.Response):
                return failure
            hint = failure.retry_after if isinstance(failure, RefusedError) else None
            wait = max(pause * random.uniform(0.5, 1.5), hint or 0.0)
            if final or time.monotonic() + wait >= end:
                raise failure
            time.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _attempt(
        self,
        method: str,
        path: str,
        end: float,
        poll: float,
        params: Mapping[str, str | int | float] | None,
        content: bytes | None,
        json: Any,
        headers: Mapping[str, str] | None,
    ) -> tuple[httpx.Response | ExchangeError, bool]:
        """The answer, or an error and whether trying again is of no use."""
        try:
            response = self._client.request(
                method,
                f"{self._url}/v1{path}",
                params=params,
                content=content,
                json=json,
                headers={**(headers or {}), "Authorization": f"Bearer {self._credential.token()}"},
                timeout=self._timeout(end, poll),
            )
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            untrusted = _certificate_refused(error)
            fix = (
                "Check the CA file; if the site's proxy opens TLS, name its authority's file in "
                f"{EXTRA_CA_VARIABLE}."
                if untrusted
                else "Check the network, HTTPS_PROXY and NO_PROXY."
            )
            failure = UnreachableError(f"{self._url}: no answer in time ({reason}). {fix}")
            failure.__cause__ = error
            return failure, untrusted
        if response.status_code < 300:
            return response, True
        refusal = parse_problem(response)
        return refusal, response.status_code < 500

    @staticmethod
    def _timeout(end: float, poll: float) -> httpx.Timeout:
        # A read never outlasts the deadline, so that a silent proxy cannot hold a call for ever.
        left = max(end - time.monotonic(), 1.0)
        read = min(left, poll + _POLL_MARGIN if poll else 30.0)
        return httpx.Timeout(connect=min(10.0, left), read=read, write=min(60.0, left), pool=left)


def _trusting(ca_file: Path, extra_ca: Path | None) -> ssl.SSLContext:
    """A client's TLS context that trusts these authorities and no others."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ExchangeError(
            f"{ca_file}: not a certificate file in PEM form ({error}). Get the exchange's ca.pem."
        ) from error
    named = os.environ.get(EXTRA_CA_VARIABLE, "")
    extra = extra_ca or (Path(named) if named else None)
    if extra is not None:
        try:
            context.load_verify_locations(cafile=str(extra))
        except (OSError, ssl.SSLError) as error:
            raise ExchangeError(
                f"{extra}: not a certificate file in PEM form ({error}). {EXTRA_CA_VARIABLE} names the authorities "
                "of a proxy that opens TLS; unset it where there is none."
            ) from error
    return context


def _certificate_refused(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def parse_problem(response: httpx.Response) -> RefusedError:
    """The error that a problem+json answer carries; answers of proxies become Forbidden or Internal."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        content = response.json()
        offset, retry_after = content.get("offset"), content.get("retryAfter")
        successor = content.get("successor")
        return refused(
            Code(content["code"]),
            str(content["detail"])[:2000],
            offset=offset if isinstance(offset, int) else None,
            retry_after=float(retry_after) if isinstance(retry_after, int | float) else None,
            successor=successor[:64] if isinstance(successor, str) else None,
        )
    with contextlib.suppress(ValueError, KeyError):  # an answer to HEAD
        return refused(Code(response.headers["Problem-Code"]), f"HEAD {response.request.url.path}")
    where = f"{response.request.method} {response.request.url.path}"
    text = f"{where} was answered {response.status_code} by something that is not the exchange (a proxy?)"
    return refused(Code.INTERNAL if response.status_code >= 500 else Code.FORBIDDEN, text)
