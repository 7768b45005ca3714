"""A site's answer that it takes no part in a round: words for the coordinator, and nothing else about the site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from fedgestalt.secagg.messages import FaultReason
from fedgestalt_operator.api.reasons import GrantReason
from fedgestalt_operator.plan.grants import Mismatch

MESSAGE_LENGTH: Final = 1000


class TaskRefusal(Exception):  # noqa: N818 - the site's answer, not an error of this program
    """The site does not take part.

    Attributes:
        reason: of the closed list of faults, or one of a base that cannot be built on.
        causes: which rules of the site's grants the round does not fit, where that is the reason.
    """

    def __init__(self, reason: str, message: str, causes: Sequence[GrantReason] = ()) -> None:
        super().__init__(message[:MESSAGE_LENGTH])
        self.reason, self.causes = reason, tuple(causes)

    @classmethod
    def by_grants(cls, mismatches: Iterable[Mismatch]) -> TaskRefusal:
        """No grant fits, or the one that did has ended."""
        found = tuple(mismatches)
        causes = dict.fromkeys(mismatch.reason for mismatch in found)
        return cls(FaultReason.GRANT_MISMATCH, "; ".join(map(str, found)), tuple(causes))

    @property
    def may_pass(self) -> bool:
        """Whether it is asked again: a release that is missing may come, and a cohort may be put back."""
        return self.reason in ("ReleaseMissing", FaultReason.DATA_INVALID)

    def status(self) -> dict[str, Any]:
        """What the hub may know of a task that is refused. What may pass is no end yet."""
        phase = "Pending" if self.may_pass else "Failed"
        status = {"phase": phase, "reason": self.reason, "fraction": 0.0, "message": str(self)}
        return {**status, "causes": [c.value for c in self.causes]} if self.causes else status
