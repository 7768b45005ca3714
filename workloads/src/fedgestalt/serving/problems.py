"""What the inference service refuses, by stable code (RFC 9457)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from starlette.responses import JSONResponse, Response

PROBLEM_TYPE: Final = "urn:fedgestalt:problem:"


class Code(StrEnum):
    """Problem codes (the last part of ``type``). They are stable: clients decide by them."""

    INVALID = "Invalid"
    PHOTO_MISSING = "PhotoMissing"
    PHOTO_TYPE_UNSUPPORTED = "PhotoTypeUnsupported"
    PHOTO_TOO_LARGE = "PhotoTooLarge"
    PHOTO_UNREADABLE = "PhotoUnreadable"
    PHOTO_UNFIT = "PhotoUnfit"
    UPLOAD_TIMED_OUT = "UploadTimedOut"
    FOREIGN_PAGE = "ForeignPage"
    BUSY = "Busy"
    NOT_READY = "NotReady"
    NOT_FOUND = "NotFound"
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    INTERNAL = "Internal"


# code -> (HTTP status, title, fix)
PROBLEMS: Final[dict[Code, tuple[int, str, str]]] = {
    Code.INVALID: (400, "The request is malformed", "Compare it with /openapi.json."),
    Code.PHOTO_MISSING: (
        400,
        "There is no photo in the request",
        "Send the file's bytes as the body, or as the part `photo` of a multipart form.",
    ),
    Code.PHOTO_TYPE_UNSUPPORTED: (
        415,
        "Not a type of photo that is read here",
        "Send image/jpeg or image/png.",
    ),
    Code.PHOTO_TOO_LARGE: (413, "The photo is larger than the limit", "Send a smaller copy of it."),
    Code.PHOTO_UNREADABLE: (
        422,
        "The photo cannot be used",
        "Open it in a viewer and save it again as JPEG or PNG.",
    ),
    Code.PHOTO_UNFIT: (
        422,
        "The photo is not fit for matching",
        "Mend what `findings` names; where the photo is all there is, send it with ?proceed=true.",
    ),
    Code.UPLOAD_TIMED_OUT: (408, "The photo did not arrive in time", "Send it again, or a smaller copy."),
    Code.FOREIGN_PAGE: (
        403,
        "The request comes from another site's page or names another host",
        "Call the service by the name it is served under, and not from other sites' pages.",
    ),
    Code.BUSY: (503, "Other photos are waiting already", "Send the photo again in some seconds."),
    Code.NOT_READY: (503, "The release is not loaded", "Wait until /readyz answers 200."),
    Code.NOT_FOUND: (404, "No such resource", "Compare the path with /openapi.json."),
    Code.METHOD_NOT_ALLOWED: (405, "No such method here", "Compare the method with /openapi.json."),
    Code.INTERNAL: (500, "The service failed", "Try again; its log names the place, never the photo."),
}


@dataclass
class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """A refusal on its way to the caller.

    Attributes:
        code: the stable code.
        detail: what exactly, for a reader; nothing of the photo's content.
        extra: further members of the problem document.
        retry_after: seconds after which another try makes sense.
    """

    code: Code
    detail: str
    extra: dict[str, Any] = field(default_factory=dict)
    retry_after: int | None = None

    def document(self) -> dict[str, Any]:
        """The problem document."""
        status, title, fix = PROBLEMS[self.code]
        return {
            "type": PROBLEM_TYPE + self.code,
            "title": title,
            "status": status,
            "detail": self.detail,
            "code": str(self.code),
            "fix": fix,
            **self.extra,
        }

    def response(self) -> Response:
        """The response that carries it."""
        headers = {"Cache-Control": "no-store"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        status = PROBLEMS[self.code][0]
        return JSONResponse(self.document(), status, headers, media_type="application/problem+json")
