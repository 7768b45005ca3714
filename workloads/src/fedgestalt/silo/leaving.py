"""Leaving a round that the data steward no longer wants: when the others do not notice, and for good."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fedgestalt.secagg.messages import HUB, Kind, Message
from fedgestalt.silo.store import DiskStore

_KEY = "left"
_OVER = frozenset({Kind.RETRY, Kind.SKIP, Kind.ADVANCE})


def sending(messages: Iterable[Message], silo: str) -> frozenset[tuple[str, int]]:
    """The open aggregations (member, t) that count on a silo's masks: it stands among the senders of their open try.

    Before the senders are named nobody has masked anything against this silo, and it may go without any recovery.

    Args:
        messages: those of the current enrolment whose signatures hold, in the board's order.
    """
    found: set[tuple[str, int]] = set()
    for message in messages:
        slot = message.slot
        if slot.sender != HUB:
            continue
        if slot.kind is Kind.SENDERS and silo in message.body["silos"]:
            found.add((slot.member, slot.t))
        elif slot.kind in _OVER:
            found.discard((slot.member, slot.t))
    return frozenset(found)


def remember(store: DiskStore, why: str, statuses: Mapping[str, Mapping[str, Any]]) -> None:
    """Write down that this silo has left the round, with what its tasks say from now on."""
    store.put(_KEY, json.dumps({"why": why, "tasks": statuses}, sort_keys=True).encode())


def remembered(store: DiskStore) -> tuple[str, Mapping[str, Mapping[str, Any]]] | None:
    """Why this silo left and what its tasks say; None if it has not left."""
    data = store.get(_KEY)
    if data is None:
        return None
    content = json.loads(data)
    return content["why"], content["tasks"]
