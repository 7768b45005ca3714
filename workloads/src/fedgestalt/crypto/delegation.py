"""Delegation: a site's identity vouches for the keys of one enrolment, until a stated time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedgestalt.crypto.encoding import encode
from fedgestalt.crypto.errors import CryptoError
from fedgestalt.crypto.keys import SigningKey, verify_signature

CLOCK_TOLERANCE: Final = 300
_PREFIX: Final = b"fedgestalt/delegation/v1"


class DelegationExpiredError(CryptoError):
    """The delegation's time has passed by more than the tolerance: either it did, or a clock is wrong."""


@dataclass(frozen=True)
class Delegation:
    """What an identity signs.

    Attributes:
        round: uid of the round.
        enrolment: the enrolment attempt.
        name: the silo.
        signing: its Ed25519 public key for this enrolment, 32 bytes.
        sealing: its X25519 public key for this enrolment, 32 bytes.
        not_after: seconds since the Unix epoch.
    """

    round: str
    enrolment: int
    name: str
    signing: bytes
    sealing: bytes
    not_after: int

    def statement(self) -> bytes:
        """The signed bytes."""
        fields = [self.round, self.enrolment, self.name, self.signing, self.sealing, self.not_after]
        return _PREFIX + encode(fields)

    def sign(self, identity: SigningKey) -> bytes:
        """The identity's signature, 64 bytes."""
        return identity.sign(self.statement())

    def verify(self, identity: bytes, signature: bytes, *, now: float) -> None:
        """Check the signature of the public key ``identity`` and, with 5 minutes of tolerance, the expiry.

        Raises:
            SignatureError: another key signed, or something else was signed.
            DelegationExpiredError: ``now`` (seconds since 1970) is past ``not_after`` and the tolerance.
        """
        verify_signature(identity, signature, self.statement())
        if now > self.not_after + CLOCK_TOLERANCE:
            raise DelegationExpiredError(
                f"the delegation of {self.name!r} ended {now - self.not_after:.0f} s ago: "
                "enrol again, or set the clock"
            )
