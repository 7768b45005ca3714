"""Ends a round whose resource is gone: its silos are told, its tasks withdrawn, and then it is forgotten.

No finalizer holds the resource back for that: until this is done the exchange has the round's tasks, and by them a later
process finds it.
"""

from __future__ import annotations

import contextlib
import logging

from ..plan.deleted import end_of_deleted
from .ports import DecisionTaken, HubExchange

log = logging.getLogger(__name__)


def end_deleted(exchange: HubExchange, round_uid: str) -> None:
    """Do all that is left to do for a deleted round. Repeatable.

    Raises:
        ExchangeUnavailable: it is not all done; call again.
    """
    last = end_of_deleted(exchange.entries(round_uid))
    if last.decision is not None:
        with contextlib.suppress(DecisionTaken):  # it had just failed by itself
            exchange.post(round_uid, last.decision)
        log.info("round %s was deleted; its silos are told", round_uid[:8])
    if last.unwanted:
        exchange.drop(round_uid, last.unwanted)
    exchange.forget(round_uid)
