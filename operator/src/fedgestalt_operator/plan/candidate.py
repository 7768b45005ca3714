"""Which release an InferenceEndpoint could go on to: pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..api.conditions import timestamp
from ..api.reasons import CandidateReason
from ..api.release import Release


def candidate_of(
    wanted: str,
    serving: str,
    releases: Collection[Release],
    *,
    verified: Collection[str],
    old: Mapping[str, Any],
    now: float,
) -> dict[str, Any] | None:
    """The newest release of the wanted one's dataset that is newer and not in service, as it stands in the status.

    Args:
        wanted: digest that the spec names; serving: digest in service, or empty.
        verified: digests that the site's agent has verified.
        old: the candidate that stands in the status; the same one keeps its time.
        now: Unix time.
    """
    by_digest = {release.digest: release for release in releases}
    current = by_digest.get(wanted)
    if current is None:
        return None
    age = _age(current, by_digest)
    newer = [
        release
        for release in by_digest.values()
        if release.dataset == current.dataset
        and release.digest not in (wanted, serving)
        and _age(release, by_digest) > age
    ]
    if not newer:
        return None
    newest = max(newer, key=lambda release: _age(release, by_digest))
    known = newest.digest in verified
    reason = CandidateReason.AWAITING_PERSON if known else CandidateReason.NOT_VERIFIED
    found = {"release": newest.digest, "reason": reason.value}
    same = found.items() <= old.items()
    return found | {"since": old["since"] if same and "since" in old else timestamp(now)}


def _age(release: Release, known: Mapping[str, Release]) -> tuple[float, int, str]:
    """Sorts releases from old to new: those that came together by their descent."""
    return release.metadata.created, _depth(release, known), release.digest


def _depth(release: Release, known: Mapping[str, Release]) -> int:
    """How many known releases it descends from, by first parents. A hub could name them in a circle."""
    line = {release.digest}
    while release.parents and release.parents[0] in known.keys() - line:
        release = known[release.parents[0]]
        line.add(release.digest)
    return len(line) - 1
