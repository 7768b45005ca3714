"""Leaving a round that the data steward no longer wants: when the others do not notice, and for good."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fedgestalt.secagg.messages import HUB, Kind, Message
from fedgestalt.silo.part import RoundPart
from fedgestalt.silo.permission import LOOK_SECONDS, Permission
from fedgestalt.silo.refusal import TaskRefusal
from fedgestalt.silo.store import DiskStore

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 30.0
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


class Leave:
    """Watches whether a round may go on at a site, and says when it is to be left."""

    def __init__(self, round_uid: str, silo: str, permission: Permission) -> None:
        self._uid, self._silo, self._permission = round_uid, silo, permission
        self._why: TaskRefusal | None = None
        self._caught_up = False
        self._next_look = self._heard = self._began = time.monotonic()

    def heard(self) -> None:
        """The board had something to say."""
        self._heard = time.monotonic()

    def decide(self, part: RoundPart, why: TaskRefusal) -> None:
        """The round is to be left, as soon as nobody counts on this silo's masks."""
        self._why = why
        part.leave(str(why))

    def due(self, part: RoundPart, messages: Sequence[Message]) -> TaskRefusal | None:
        """Why the round is to be left now; None while it goes on, or while an open aggregation counts on this silo.

        Args:
            messages: see :func:`sending`.
        """
        now = time.monotonic()
        if now < self._next_look:
            return None
        # While the board is read for the first time, for instance after a restart, nobody can tell what is open.
        self._caught_up = (
            self._caught_up or now - self._heard >= LOOK_SECONDS or now - self._began >= PATIENCE_SECONDS
        )
        if not self._caught_up:
            return None
        self._next_look = now + LOOK_SECONDS
        if self._why is None:
            ended = self._permission.ended(self._uid)
            if ended is None:
                return None
            log.warning("round %s: leaving it: %s", self._uid[:8], ended)
            self.decide(part, TaskRefusal.by_grants([ended]))
        return None if sending(messages, self._silo) else self._why
