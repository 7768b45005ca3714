"""A newcomer fetches the extractor of the release that it adopts, once it holds the epoch's key, as often as it takes."""

from __future__ import annotations

import logging
import time
from typing import Final

from fedgestalt.crypto.errors import SealError
from fedgestalt.exchange.errors import ExchangeError
from fedgestalt.secagg.messages import FaultReason
from fedgestalt.silo.base import Base, BaseError
from fedgestalt.silo.part import RoundPart
from fedgestalt.silo.workplace import Workplace

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 2.0


class BundleFetch:
    """Fetches in :meth:`poll`, on the main thread: what asks for it holds the part's lock."""

    def __init__(self, place: Workplace, part: RoundPart, base: Base) -> None:
        self._place, self._part, self._base = place, part, base
        self._wanted, self._not_before = False, 0.0

    def want(self) -> None:
        """The key is there."""
        self._wanted = True

    def poll(self) -> None:
        """Try, if it is wanted and was not tried a moment ago."""
        if not self._wanted or time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + RETRY_SECONDS
        try:
            self._base.open(self._place.board, self._place.uid, self._place.vault)
        except ExchangeError as error:
            log.warning("the release's extractor: %s", error)
            return
        except (BaseError, SealError) as error:
            self._part.fault(FaultReason.MODEL_MISMATCH, str(error))
        self._wanted = False
