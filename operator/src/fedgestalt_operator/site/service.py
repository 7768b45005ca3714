"""Asking the running inference service which release it has loaded: the only witness of that."""

from __future__ import annotations

import json
import re
import time
from typing import Any, Final, Protocol

import httpx

from ..plan.endpoint_types import Answer

ADDRESS: Final = "http://{name}.{namespace}.svc:8080"
PATH: Final = "/v1/release"
MAX_BYTES: Final = 64 * 1024
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_OK: Final = 200


class Ask(Protocol):
    """Asks a service by the name and namespace of its Service."""

    def __call__(self, name: str, namespace: str) -> Answer:
        """What it says. Never raises, ends within some seconds."""
        ...


class AskService:
    """`Ask` over HTTP, through no proxy."""

    def __init__(
        self, address: str = ADDRESS, *, timeout: float = 3.0, tries: int = 2, pause: float = 0.5
    ) -> None:
        """
        Args:
            address: URL in which `{name}` and `{namespace}` stand for those of the Service.
            timeout: seconds for one try.

        Raises:
            ValueError: no URL.
        """
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"{address!r} is no URL; write it as {ADDRESS}")
        self._address, self._timeout, self._tries, self._pause = address.rstrip("/"), timeout, tries, pause

    def __call__(self, name: str, namespace: str) -> Answer:
        """See `Ask`. One lost request is asked again: it should not make a clinic's service look unready."""
        url = self._address.replace("{name}", name).replace("{namespace}", namespace) + PATH
        said = ""
        for attempt in range(self._tries):
            if attempt:
                time.sleep(self._pause)
            try:
                return Answer(self._digest(url))
            except httpx.TimeoutException:
                said = "no answer in time"
            except httpx.HTTPError as error:
                # The type alone: texts hold ports and numbers that would differ each time, and each would be a write.
                said = f"not reachable ({type(error).__name__})"
            except ValueError as error:
                said = str(error)
        return Answer(silence=said)

    def _digest(self, url: str) -> str:
        end = time.monotonic() + self._timeout
        data = b""
        # A connection for each question: one that is kept would go on to the pod that is being replaced.
        with httpx.stream(
            "GET", url, timeout=self._timeout, trust_env=False, follow_redirects=False
        ) as response:
            if response.status_code != _OK:
                raise ValueError(f"it answers with status {response.status_code}")
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_BYTES or time.monotonic() > end:
                    raise ValueError("its answer is too long")
        content: Any = json.loads(data)
        digest = content.get("digest") if isinstance(content, dict) else None
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError("its answer names no release")
        return f"sha256:{digest}"
