"""How the link to the hub stands, and how a site's SiloTasks show it: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..api.conditions import Condition, TaskCondition, Truth, documents, seconds, timestamp
from ..api.reasons import LinkReason

SHOWN_AFTER: Final = 30.0
"""Seconds for which the link must be down before tasks show it: one request that failed is no news, and no write."""
_LENGTH: Final = 1024
_WORDS: Final[Mapping[LinkReason, str]] = {
    LinkReason.LINK_LOST: "hub not reachable",
    LinkReason.REVOKED: "the hub lets this site in no more",
    LinkReason.CLOCK_SKEWED: "the clocks of site and hub disagree",
    LinkReason.REFUSED: "the hub refuses what this site asks",
}


@dataclass(frozen=True, slots=True)
class LinkState:
    """How the link stands since when (Unix time); `message` says what the exchange, or its absence, said."""

    reason: LinkReason
    since: float
    message: str = ""


def shown_at(link: LinkState, now: float) -> float | None:
    """When a link that is down will be shown; None where it is already, or is up."""
    due = link.since + SHOWN_AFTER
    return due if link.reason is not LinkReason.CONNECTED and now < due else None


def link_condition(
    link: LinkState | None, old: Mapping[str, Any], generation: int, now: float
) -> dict[str, Any]:
    """The part of a SiloTask's status that shows the link; `old` is the status that stands.

    It is the site's own: what is told to the hub leaves conditions out.
    """
    standing = old.get("conditions", [])
    if link is None or shown_at(link, now) is not None:
        return {"conditions": standing} if standing else {}
    truth = Truth.TRUE if link.reason is LinkReason.CONNECTED else Truth.FALSE
    since = link.since
    for condition in standing:
        if (condition["type"], condition["status"]) == (TaskCondition.CONNECTED, truth):
            since = seconds(condition["lastTransitionTime"])
    message = ""
    if truth is Truth.FALSE:
        message = f"{_WORDS[link.reason]} since {timestamp(since)}: {link.message}"[:_LENGTH]
    return {
        "conditions": documents(
            [Condition(TaskCondition.CONNECTED, truth, link.reason, message, since, generation)]
        )
    }
