"""Whether a round may run at this site, and go on: the steward's grants, the ledger of their uses, and the clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from fedgestalt.crypto.keys import fingerprint
from fedgestalt.silo.grant import GrantFiles, grant_key
from fedgestalt.silo.ledger import GrantLedger, LedgerUnreadableError
from fedgestalt_operator.api.grant import ParticipationGrant
from fedgestalt_operator.api.reasons import GrantReason
from fedgestalt_operator.plan.grants import NO_GRANT, Mismatch, choose, ended

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 5.0
"""So long a grant may be missing before it counts as deleted: an editor may be writing it."""


class Permission:
    """The grants of one site. One object for all rounds; safe for threads."""

    def __init__(
        self,
        grants: GrantFiles,
        ledger: GrantLedger,
        *,
        hub_key: bytes,
        silo: str,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now``: Unix time by the site's clock; ``clock``: seconds that only go forward."""
        self._grants, self._ledger, self._silo = grants, ledger, silo
        self._hub = fingerprint(hub_key).hex()
        self._now, self._clock = now, clock
        self._missing: dict[str, float] = {}

    def admitted(self, round_uid: str, digest: bytes) -> bool:
        """Whether this computation (digest of 32 bytes) was let in before, also before a restart."""
        try:
            known = self._ledger.admission(round_uid)
        except LedgerUnreadableError as error:
            log.error("%s", error)
            return False
        return known is not None and known.digest == digest

    def admit(self, round_uid: str, digest: bytes, computation: Mapping[str, Any]) -> tuple[Mismatch, ...]:
        """Let a round in under the first grant that fits, and hold a use for it.

        Returns:
            What does not fit, for the coordinator to read; empty where the round was let in.
        """
        try:
            now = self._now()
            choice = choose(
                self._grants.read().usable.values(),
                computation,
                hub_fingerprint=self._hub,
                silo=self._silo,
                used=lambda grant: self._ledger.used(grant_key(grant), now, apart_from=round_uid),
                now=now,
            )
            if choice.grant is not None:
                name = choice.grant.metadata.name
                self._ledger.admit(round_uid, digest, grant_key(choice.grant), name, now)
                log.info("round %s runs under the grant %s", round_uid[:8], name)
        except LedgerUnreadableError as error:
            log.error("%s", error)
            return (NO_GRANT,)
        return choice.mismatches

    def count(self, round_uid: str, h: bytes) -> Mismatch | None:
        """The enrolment with handshake hash ``h`` stands: count it, once.

        Returns:
            Why this silo must not go on, if its uses are spent or nobody can tell.
        """
        try:
            if self._ledger.count(h, round_uid, self._now(), most=self._most(round_uid)):
                return None
        except LedgerUnreadableError as error:
            log.error("%s", error)
            return NO_GRANT
        return Mismatch(GrantReason.USES_SPENT, "the grant allows no more enrolments")

    def ended(self, round_uid: str) -> Mismatch | None:
        """Why a round that was let in must stop; None while it may go on."""
        try:
            admission = self._ledger.admission(round_uid)
            since = self._ledger.counted_at(round_uid)
        except LedgerUnreadableError as error:
            log.error("%s", error)
            return None  # nothing new is let in; what runs was counted when it was readable
        if admission is None:
            return None
        grant = self._grants.read().usable.get(admission.grant)
        if grant is None:
            missing = self._clock() - self._missing.setdefault(admission.grant, self._clock())
            if missing < GRACE_SECONDS:
                return None
        else:
            self._missing.pop(admission.grant, None)
        return ended(grant, active=0.0 if since is None else self._now() - since)

    def over(self, round_uid: str) -> None:
        """The round is over: a use that it held and did not need is free again."""
        try:
            self._ledger.close_round(round_uid)
        except LedgerUnreadableError as error:
            log.error("%s", error)

    def counted(self, round_uid: str) -> bool:
        """Whether an enrolment of the round was counted."""
        try:
            return self._ledger.counted_at(round_uid) is not None
        except LedgerUnreadableError:
            return False

    def projection(self) -> dict[str, Any]:
        """What the ledger says of every grant that was used, as JSON: for the operator's status."""
        try:
            usages = self._ledger.usages()
        except LedgerUnreadableError as error:
            log.error("%s", error)
            return {"unreadable": True, "grants": {}}
        return {
            "unreadable": False,
            "grants": {
                key: {"name": usage.name, "used": usage.used, "lastUsed": usage.last_used}
                for key, usage in usages.items()
            },
        }

    def _most(self, round_uid: str) -> int | None:
        grant = self._grant(round_uid)
        return None if grant is None else grant.uses

    def _grant(self, round_uid: str) -> ParticipationGrant | None:
        admission = self._ledger.admission(round_uid)
        return None if admission is None else self._grants.read().usable.get(admission.grant)
