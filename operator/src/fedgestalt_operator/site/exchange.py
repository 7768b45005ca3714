"""What the site needs of the hub's exchange, and how a failure of it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.errors import (
    BoardFullError,
    ClockSkewedError,
    Code,
    ExchangeError,
    RefusedError,
    RevokedError,
    UnreachableError,
)

from ..api.reasons import LinkReason


@dataclass(frozen=True, slots=True)
class GivenTask:
    """A SiloTask as it lies on the exchange: its spec is the hub's, its status what this site last said."""

    name: str
    spec: Mapping[str, Any]
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GivenRelease:
    """A Release of the hub: name and spec of the resource."""

    name: str
    spec: Mapping[str, Any]


class SiteExchange(Protocol):
    """The exchange as a site's operator sees it. Safe for threads. Every call may raise ExchangeError."""

    def tasks(self, after: int, wait: float) -> tuple[Sequence[GivenTask], int]:
        """All tasks of this silo and the list's revision; waits up to `wait` seconds until it is not `after`."""
        ...

    def releases(self, after: int, wait: float) -> tuple[Sequence[GivenRelease], int]:
        """All releases that this silo may see, in the same way."""
        ...

    def put_task_status(self, name: str, status: Mapping[str, Any]) -> bool:
        """Say how a task stands. False: the hub has taken it back."""
        ...

    def heartbeat(self, version: str) -> None:
        """Say that this site is there, and the version of its software."""
        ...


class RealSiteExchange:
    """`SiteExchange` over the exchange's client."""

    def __init__(self, client: BoardClient) -> None:
        """`client`: with a deadline of a few seconds, for whoever calls tries again by itself."""
        self._client = client

    def tasks(self, after: int, wait: float) -> tuple[Sequence[GivenTask], int]:
        """See `SiteExchange.tasks`."""
        listed, revision = self._client.tasks(wait, after=after)
        return [GivenTask(task.name, task.spec, task.status) for task in listed], revision

    def releases(self, after: int, wait: float) -> tuple[Sequence[GivenRelease], int]:
        """See `SiteExchange.releases`."""
        listed, revision = self._client.releases(wait, after=after)
        return [GivenRelease(release.name, release.spec) for release in listed], revision

    def put_task_status(self, name: str, status: Mapping[str, Any]) -> bool:
        """See `SiteExchange.put_task_status`."""
        try:
            self._client.put_task_status(name, status)
        except RefusedError as error:
            if error.code is Code.TASK_UNKNOWN:
                return False
            raise
        return True

    def heartbeat(self, version: str) -> None:
        """See `SiteExchange.heartbeat`."""
        self._client.heartbeat(version)


def reason_of(error: ExchangeError | OSError) -> LinkReason:
    """Which of the link's states an error means. Each recovers by itself once its cause is gone."""
    match error:
        case RevokedError():
            return LinkReason.REVOKED
        case ClockSkewedError():
            return LinkReason.CLOCK_SKEWED
        case UnreachableError() | BoardFullError() | OSError():
            return LinkReason.LINK_LOST
        case RefusedError() if error.status >= 500:
            return LinkReason.LINK_LOST
    return LinkReason.REFUSED
