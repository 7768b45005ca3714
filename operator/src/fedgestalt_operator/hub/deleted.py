"""Ends a round whose resource is gone: its silos are told, its tasks withdrawn, and then it is forgotten.

No finalizer holds the resource back for that: until this is done the exchange has the round's tasks, and by them a later
process finds it.
"""

from __future__ import annotations

import logging
from typing import Protocol

from ..plan.deleted import LastWord, end_of_deleted
from .ports import DecisionTaken, ExchangeUnavailable, HubExchange

log = logging.getLogger(__name__)


class Publications(Protocol):
    """Publishes what a round yielded that was deleted in between; see `publication.LatePublisher`."""

    def due(self, round_uid: str, digest: str) -> bool:
        """Whether a release that was decided is not published, and can be."""
        ...

    def publish(self, round_uid: str, digest: str) -> None:
        """Publish it. Repeatable."""
        ...


def end_deleted(exchange: HubExchange, publications: Publications, round_uid: str) -> None:
    """Do all that is left to do for a deleted round. Repeatable.

    Raises:
        ExchangeUnavailable, ClusterError: it is not all done; call again.
    """
    last = _say(exchange, round_uid)
    unwanted = last.unwanted
    late = bool(last.release) and publications.due(round_uid, last.release)
    if last.release and not late:
        # Once published, no blob is left; what can never be published needs none.
        unwanted = () if exchange.published(last.release) else unwanted + last.rows
    if unwanted:
        exchange.drop(round_uid, unwanted)
    if late:
        # Its silos have the release and count on it, whoever deleted the round meanwhile. This takes the rows, too.
        publications.publish(round_uid, last.release)
        log.info("round %s was deleted; what it yielded is published", round_uid[:8])
    exchange.forget(round_uid)


def _say(exchange: HubExchange, round_uid: str) -> LastWord:
    """What holds as the round's last word, once it stands on the board."""
    last = end_of_deleted(exchange.entries(round_uid))
    if last.decision is None:
        return last
    try:
        exchange.post(round_uid, last.decision)
    except DecisionTaken:
        # It had just ended by itself, and another end wants other things done: a release needs the rows.
        last = end_of_deleted(exchange.entries(round_uid))
        if last.decision is not None:
            raise ExchangeUnavailable(
                f"round {round_uid} has ended, but its board does not show how yet"
            ) from None
        return last
    log.info("round %s was deleted; its silos are told", round_uid[:8])
    return last
