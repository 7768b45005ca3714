"""What an API server's refusal means at the cluster port."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .errors import (
    AlreadyExists,
    ClusterError,
    ClusterUnavailable,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    NotServed,
)

_MAX_TEXT: Final = 2000
_INVALID: Final = (400, 413, 415, 422)
# How a server-side apply says that a field is unknown or has another type: as a failure of the server's own.
_NO_TYPED_PATCH: Final = "failed to create typed patch object"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, in the words that RBAC rules use."""

    verb: str
    kind: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {' '.join(filter(None, (self.kind, self.name)))}{place}"


def refusal(request: Request, code: int, body: bytes | Mapping[str, Any]) -> ClusterError | ValueError:
    """The error for an answer that is no success.

    Args:
        request: what was asked.
        code: HTTP status code, or the code of a watch's ERROR event.
        body: the answer: a Status object as bytes or parsed, or whatever a proxy said.
    """
    status = _status(body)
    text = str(status.get("message") or "") if status else _plain(body)
    about = f"{request}: {text or f'HTTP {code}'}"[:_MAX_TEXT]
    if code == 401:
        return Forbidden(f"{about}; the API server does not accept the credentials")
    if code == 403:
        return Forbidden(about)
    if code == 404:
        # The server names the object that it looked for; for a path that it does not serve there is none.
        if (status.get("details") or {}).get("name"):
            return NotFound(about)
        return NotServed(f"{about}; the API server does not serve {request.kind}: install its CRD")
    if code == 409:
        return AlreadyExists(about) if status.get("reason") == "AlreadyExists" else Conflict(about)
    if code == 410:
        return Gone(about)
    causes = (status.get("details") or {}).get("causes") or ()
    if any(cause.get("field") == "metadata.uid" for cause in causes):
        return Conflict(about)  # the object that was read is gone; this is another one of its name
    if code in _INVALID or (code == 500 and text.startswith(_NO_TYPED_PATCH)):
        return ValueError(about)
    if code == 429 or code >= 500:
        return ClusterUnavailable(about)
    return ClusterError(f"{about} (HTTP {code})")


def _status(body: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(body, Mapping):
        return body
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _plain(body: bytes | Mapping[str, Any]) -> str:
    """A text answer on one line; pages of proxies are long and full of line ends."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else ""
    return " ".join(text.split())[:200]
