"""Tells the real exchange which silos to let in."""

from __future__ import annotations

from collections.abc import Mapping

from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.errors import ExchangeError
from fedgestalt.exchange.registry import RegisteredIdentity, RegisteredSilo

from ..api.silo import Silo
from .ports import ExchangeUnavailable


class ExchangeRegistrar:
    """See `registry.Registrar`."""

    def __init__(self, client: BoardClient) -> None:
        self._client = client

    def register(self, silos: Mapping[str, Silo]) -> None:
        """See `Registrar.register`."""
        try:
            self._client.put_registry({name: _registered(silo) for name, silo in silos.items()})
        except ExchangeError as error:
            raise ExchangeUnavailable(str(error)) from error


def _registered(silo: Silo) -> RegisteredSilo:
    identities = tuple(RegisteredIdentity(bytes.fromhex(i.key), i.not_after) for i in silo.identities)
    return RegisteredSilo(identities=identities, accepted=silo.accepted)
