"""The frozen computation (message 0) as far as the protocol needs it, and its quorums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedgestalt.secagg.errors import ComputationError, MessageError
from fedgestalt.secagg.schemas import MAX_SILOS, check_name

LEAST_SILOS: Final = 3
MAX_BYTES: Final = 1 << 20


def quorum(n: int) -> int:
    """tau = floor(2n/3) + 1: signatures, shares and equal hashes that a roster of ``n`` silos needs.

    Two sets of tau silos have more than n/3 in common, so no two survivor sets are both accepted unless more
    than a third of the roster signs twice.
    """
    return 2 * n // 3 + 1


def need(n: int, min_silos: int) -> int:
    """Silos that must be there for ``n`` to go on without the rest: max(minSilos, tau)."""
    return max(min_silos, quorum(n))


@dataclass(frozen=True)
class Computation:
    """What silos, hub and jobs agree on before anything is computed.

    Attributes:
        round: uid of the federation round.
        silos: identity public keys (32 bytes) of the invited silos, by name.
        min_silos: the least number of silos in any sum, at least 3.
        new_epoch: whether a new K_epoch is drawn.
        digest: SHA-256 of the canonical JSON, 32 bytes.
    """

    round: str
    silos: Mapping[str, bytes]
    min_silos: int
    new_epoch: bool
    digest: bytes

    @property
    def need(self) -> int:
        """Silos that a roster needs."""
        return need(len(self.silos), self.min_silos)

    @classmethod
    def parse(cls, data: bytes) -> Computation:
        """Read the canonical JSON (RFC 8785) of message 0.

        The fields used here: ``round`` (uid), ``silos`` (name: identity key in hex),
        ``spec.quorum.minSilos`` and ``newEpoch``. All others are bound by the digest and read by those
        whom they concern.

        Raises:
            ComputationError: too large, no JSON, a field missing or malformed, or fewer than 3 silos.
        """
        if len(data) > MAX_BYTES:
            raise ComputationError(f"the computation has {len(data)} bytes; at most {MAX_BYTES} are allowed")
        try:
            document = json.loads(data, object_pairs_hook=_unique)
            silos = {name: bytes.fromhex(key) for name, key in document["silos"].items()}
            round_uid, new_epoch = document["round"], document["newEpoch"]
            min_silos = document["spec"]["quorum"]["minSilos"]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ComputationError(
                f"the computation is malformed: {type(error).__name__} at {error}"
            ) from error
        if type(round_uid) is not str or type(new_epoch) is not bool or type(min_silos) is not int:
            raise ComputationError(
                "round must be text, newEpoch a boolean and spec.quorum.minSilos an integer"
            )
        computation = cls(round_uid, silos, min_silos, new_epoch, hashlib.sha256(data).digest())
        computation.check()
        return computation

    def check(self) -> None:
        """Check the rules that hold for any computation.

        Raises:
            ComputationError: names the rule that is broken.
        """
        if not LEAST_SILOS <= len(self.silos) <= MAX_SILOS:
            raise ComputationError(
                f"{len(self.silos)} silos are invited; {LEAST_SILOS} to {MAX_SILOS} are allowed"
            )
        if not LEAST_SILOS <= self.min_silos <= len(self.silos):
            raise ComputationError(
                f"minSilos is {self.min_silos}; it must lie from {LEAST_SILOS} to the {len(self.silos)} silos"
            )
        if len(set(self.silos.values())) != len(self.silos):
            raise ComputationError("two silos have the same identity key")
        for name, key in self.silos.items():
            try:
                check_name(name)
            except MessageError as error:
                raise ComputationError(str(error)) from error
            if len(key) != 32:
                raise ComputationError(f"the identity key of {name!r} has {len(key)} bytes, not 32")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a doubled key")
    return result
