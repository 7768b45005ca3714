"""Asking the federation: a rotated row goes to the hub's query service, ranked tokens come back.

Whatever goes wrong there, the clinic has its local part and a stable code for why the other is absent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import RefusedError, UnreachableError, UntrustedExchangeError
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.flake.index import Match
from fedgestalt.silo.config import SiteConfig

_log = logging.getLogger(__name__)
TIMEOUT = 2.0
"""Seconds after which an answer does without the federation."""
_AT_ONCE = 4  # questions under way; one that hangs keeps its place until its connection gives up


class Absence(StrEnum):
    """Why an answer has no federated part. The codes are stable."""

    NOT_CONFIGURED = "FederationNotConfigured"
    UNREACHABLE = "FederationUnreachable"
    REFUSED = "FederationRefused"
    INVALID = "FederationAnswerInvalid"
    FAILED = "FederationFailed"


@dataclass(frozen=True)
class FederatedAnswer:
    """The hub's answer: at most 30 tokens, best first, and how many queries the silo has left (None: not said)."""

    matches: tuple[Match, ...]
    budget_left: int | None = None


@dataclass
class FederationAbsent(Exception):  # noqa: N818 - a state that answers report, not a failure of the request
    """There is no federated answer; ``detail`` is for a reader and holds nothing of the question;
    ``cause`` is the hub's own code."""

    reason: Absence
    detail: str
    cause: str | None = None


class Federation(Protocol):
    """Who answers rotated rows. Called from a thread; may take long, the caller does not wait beyond `TIMEOUT`."""

    def ask(self, row: NDArray[np.float64]) -> FederatedAnswer:
        """The others' nearest syndromes for one rotated row, float64 ``[width]``, of length one.

        Raises:
            FederationAbsent: no answer, and why.
        """
        ...


class HubFederation:
    """The query service beside the hub's exchange, asked for one epoch."""

    def __init__(self, client: EpochClient, epoch: str) -> None:
        """``epoch``: hex."""
        self._client, self._epoch = client, epoch

    @classmethod
    def of_site(cls, site: SiteConfig, epoch: str, timeout: float = TIMEOUT) -> HubFederation:
        """Ask as a site, with its identity; retries end after ``timeout`` seconds.

        Raises:
            KeyFileError: the identity cannot be read.
            ExchangeError: the exchange's URL or certificate file is unusable.
        """
        credential = KeyCredential(Identity.load(site.identity_file), Role.SILO, site.name, site.hub_key)
        return cls(EpochClient(site.exchange_url, site.ca_file, credential, deadline=timeout), epoch)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, row: NDArray[np.float64]) -> FederatedAnswer:
        """As `Federation.ask`."""
        try:
            answer = self._client.query(self._epoch, row)
        except RefusedError as error:
            said = f"the hub refused ({error.code}). {error.fix}"
            if error.successor is not None:
                said += f" It is release {error.successor[:12]}."
            raise FederationAbsent(Absence.REFUSED, said, str(error.code)) from None
        except UnreachableError:
            raise FederationAbsent(Absence.UNREACHABLE, "the hub does not answer") from None
        except UntrustedExchangeError:
            raise FederationAbsent(Absence.INVALID, "the hub's answer is not one of the protocol") from None
        # A query is a row as well: whichever budget ends first.
        return FederatedAnswer(answer.matches, min(answer.left.queries, answer.left.rows))


class Asking:
    """Puts questions to a federation without waiting longer than `TIMEOUT` for an answer."""

    def __init__(self, federation: Federation, timeout: float = TIMEOUT) -> None:
        self._federation, self._timeout = federation, timeout
        self._places: anyio.CapacityLimiter | None = None

    async def ask(self, row: NDArray[np.float64]) -> FederatedAnswer:
        """As `Federation.ask`.

        Raises:
            FederationAbsent: as there, or the time is over.
        """
        if self._places is None:  # belongs to the running event loop
            self._places = anyio.CapacityLimiter(_AT_ONCE)
        question: Callable[[NDArray[np.float64]], FederatedAnswer] = self._federation.ask
        try:
            with anyio.fail_after(self._timeout):
                return await anyio.to_thread.run_sync(
                    question, row, abandon_on_cancel=True, limiter=self._places
                )
        except TimeoutError:
            raise FederationAbsent(
                Absence.UNREACHABLE, f"no answer of the hub within {self._timeout:g} s"
            ) from None
        except FederationAbsent:
            raise
        except Exception as error:  # whatever is wrong over there, the clinic gets its local part
            _log.error("asking the federation failed: %s", type(error).__name__)
            raise FederationAbsent(
                Absence.FAILED, "asking the hub failed; the service's log says how"
            ) from None
