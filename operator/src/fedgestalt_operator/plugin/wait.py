"""`wait`: until a round is over, with an exit code that says how."""

from __future__ import annotations

from typing import Any

from .access import Access
from .ends import End, Exit, outcome, over
from .follow import follow
from .times import span


def wait_for(access: Access, name: str, seconds: float) -> tuple[Exit, str]:
    """The exit code and one line on how the round ended.

    Raises:
        End: TIMED_OUT, NOT_FOUND or UNREACHABLE.
    """
    status: dict[str, Any] = {}
    for document in follow(access.cluster, access.namespace, name, seconds=seconds):
        status = document.get("status") or {}
    code = over(status)
    if code is not None:
        return code, outcome(name, status)
    where, waiting = (
        status.get("phase", "the hub has not looked at it yet"),
        status.get("summary", {}).get("waiting", ""),
    )
    raise End(
        Exit.TIMED_OUT,
        f"round {name} is not over after {span(seconds)}: {where}"
        + (f", waiting for {waiting}" if waiting else ""),
    )
