"""What a Release's status says at a site: who signed it, and whether it holds on this hospital's disk. Pure.

Whether its gallery is served and its epoch due for rotation is the hub's to know, and stands in the hub's copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..api.conditions import Condition, ReleaseCondition, Truth, documents, seconds
from ..api.reasons import VerifiedReason
from ..api.release import Release
from ..plan.endpoint_types import Checked

_UNSAID: Final = "the agent has not said which releases it has"
_ELSEWHERE: Final = "its files are not at this site, which can take part in an Adopt round"


def site_release_status(
    release: Release, checked: Mapping[str, Checked] | None, *, now: float, old: Mapping[str, Any]
) -> dict[str, Any]:
    """The status document of a Release that was mirrored into a site. A condition that stays as it is keeps its time.

    Args:
        checked: what the agent found of the releases on its disk, by digest; None where it has not said.
    """
    found = None if checked is None else checked.get(release.digest)
    if checked is None:
        said = Truth.UNKNOWN, VerifiedReason.RELEASE_MISSING, _UNSAID
    elif found is None:
        said = Truth.FALSE, VerifiedReason.RELEASE_MISSING, _ELSEWHERE
    else:
        said = Truth.TRUE if found.valid else Truth.FALSE, found.reason, found.message
    since = now
    for condition in old.get("conditions", ()):
        if (condition["type"], condition["status"]) == (ReleaseCondition.VERIFIED, said[0]):
            since = seconds(condition["lastTransitionTime"])
    verified = Condition(ReleaseCondition.VERIFIED, *said, since, release.metadata.generation)
    return {
        "observedGeneration": release.metadata.generation,
        "summary": {"signed": f"{len(release.signers)}/{len(release.silos)}"},
        "conditions": documents([verified]),
    }
