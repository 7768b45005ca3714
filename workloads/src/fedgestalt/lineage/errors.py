"""What goes wrong with releases. Messages name the release, the part and the mending."""

from __future__ import annotations

from collections.abc import Sequence

from fedgestalt.lineage.findings import Problem


class LineageError(Exception):
    """Base of this package's errors."""


class ManifestError(LineageError):
    """Bytes that are no release manifest."""


class ProofError(LineageError):
    """Bytes that are no proof of a release, or a board without one."""


class StoreError(LineageError):
    """A release that the store does not have, cannot tell from another, or has damaged."""


class ChainError(LineageError):
    """A release that continues one which is missing or is not what it says; the message names it."""


class VerificationError(LineageError):
    """A release that is not what it says.

    Attributes:
        problems: everything that was found, in the order of the checks; never empty.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))
