"""Tombstones: a silo's signed word that some of its cases are withdrawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedgestalt.crypto.encoding import encode
from fedgestalt.crypto.keys import SigningKey, verify_signature
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.tokens import TOKEN_BYTES

MAX_HANDLES: Final = 1024
"""Handles of one statement."""
_PREFIX: Final = b"fedgestalt/tombstone/v1"


@dataclass(frozen=True)
class Tombstone:
    """What the identity signs. Kept by the hub: it shows that the owner, and nobody else, withdrew the cases.

    Attributes:
        epoch: in whose rows the cases stand; handles of another epoch name nothing here.
        owner: the silo.
        handles: 16 bytes each, sorted, no two equal, 1 to 1,024 of them.
    """

    epoch: str
    owner: str
    handles: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """
        Raises:
            FlakeError: handles that are not as said.
        """
        if not 1 <= len(self.handles) <= MAX_HANDLES:
            raise FlakeError(
                f"a statement withdraws 1 to {MAX_HANDLES} cases, not {len(self.handles)}; make several"
            )
        if any(len(handle) != TOKEN_BYTES for handle in self.handles):
            raise FlakeError(f"a handle has {TOKEN_BYTES} bytes")
        if any(a >= b for a, b in zip(self.handles, self.handles[1:], strict=False)):
            raise FlakeError("the handles of a statement are sorted and differ from one another")

    def statement(self) -> bytes:
        """The signed bytes: a domain prefix and canonical CBOR (RFC 8949, section 4.2.1)."""
        return _PREFIX + encode([self.epoch, self.owner, list(self.handles)])

    def sign(self, identity: SigningKey) -> bytes:
        """The identity's signature, 64 bytes."""
        return identity.sign(self.statement())

    def verify(self, identity: bytes, signature: bytes) -> None:
        """Check the signature of the public key ``identity``.

        Raises:
            SignatureError: another key signed, or something else was signed.
        """
        verify_signature(identity, signature, self.statement())
