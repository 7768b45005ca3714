"""Adopting: a silo of the epoch admits newcomers and then seals the epoch's key to them; a newcomer opens it."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from typing import Any

from fedgestalt.crypto.errors import SealError
from fedgestalt.crypto.keys import Purpose, derive
from fedgestalt.secagg.messages import FaultReason, Kind, Message, Slot, sign
from fedgestalt.silo.base import Base
from fedgestalt.silo.part import RoundPart
from fedgestalt.silo.vault import EpochVault
from fedgestalt.silo.workplace import Workplace

log = logging.getLogger(__name__)


def decline(place: Workplace, computation: Mapping[str, Any], attempt: int) -> None:
    """Refuse to let newcomers in: a `fault` over the identity's signature, for all to see. Of other rounds, nothing.

    A task's status says as much, but nobody signs that: only this ends the round with ``PeerRefused``. It does not name
    the rule that the round breaks, for the other hospitals read it.

    Raises:
        ExchangeError: it is written down, but not posted yet; call again.
    """
    base = computation.get("base")
    if base is None or place.site.name not in base["silos"] or computation["spec"]["operation"] != "Adopt":
        return
    slot = Slot(place.uid, attempt, "", 0, 0, Kind.FAULT, place.site.name)
    body = {"reason": FaultReason.GRANT_MISMATCH, "detail": "no grant of this site fits the round"}
    place.outbox.post(sign(slot, body, (), place.identity))


class Admission:
    """One silo's part in the admission of an Adopt round.

    That the newcomers' identities fit the grant was checked before this silo enrolled; its ``admit`` says so, signed, for
    all to see. No key is sealed before every silo of the epoch has said it.
    """

    def __init__(self, part: RoundPart, base: Base, vault: EpochVault, on_key: Callable[[], None]) -> None:
        """``on_key`` is called once a newcomer holds the epoch's key."""
        self._part, self._base, self._vault, self._on_key = part, base, vault, on_key
        self._admitted: set[str] = set()

    def enrolled(self) -> None:
        """The enrolment stands: a silo of the epoch says whom it admits. What was said in an earlier attempt is void."""
        self._admitted.clear()
        if self._base.member:
            body = {"epoch": self._base.epoch, "newcomers": self._newcomers()}
            self._part.post(Kind.ADMIT, body)

    def on_message(self, message: Message) -> None:
        """Messages of the admission, already known to be signed by whom they name."""
        sender = message.slot.sender
        if sender not in self._base.silos:
            return
        if message.slot.kind is Kind.ADMIT:
            expected = {"epoch": self._base.epoch, "newcomers": self._newcomers()}
            if dict(message.body) == expected:
                self._admitted.add(sender)
            if self._base.member and self._admitted == set(self._base.silos):
                self._welcome()
        elif message.slot.kind is Kind.WELCOME and not self._base.member:
            self._open(message)

    def _newcomers(self) -> dict[str, bytes]:
        silos = self._part.session.computation.silos
        return {name: silos[name] for name in self._part.session.roster if name not in self._base.silos}

    def _welcome(self) -> None:
        session = self._part.session
        key = self._vault.get(self._base.epoch)
        if key is None:
            self._part.fault(FaultReason.SPOOL_LOST, "this silo has lost the epoch's key")
            return
        slot = session.message(Kind.WELCOME, {"sealed": {}}).slot
        self._part.post(Kind.WELCOME, {"sealed": {n: session.seal(key, n, slot) for n in self._newcomers()}})

    def _open(self, message: Message) -> None:
        if self._vault.get(self._base.epoch) is not None:
            self._on_key()  # a restart came between the key and what it opens
            return
        sealed = message.body["sealed"].get(self._part.name, b"")
        try:
            key = self._part.session.unseal(sealed, message.slot)
        except SealError as error:
            log.warning("the key from %s: %s", message.slot.sender, error)
            return  # any other silo of the epoch sends the same key
        check = derive(key, salt=self._base.epoch, purpose=Purpose.EPOCH_CHECK)
        if not hmac.compare_digest(check, self._base.epoch_check):
            log.warning("%s sent a key that is not the release's", message.slot.sender)
            return
        self._vault.put(self._base.epoch, key)
        log.info("%s: admitted to the epoch of release %s", self._part.name, self._base.digest[:12])
        self._on_key()
