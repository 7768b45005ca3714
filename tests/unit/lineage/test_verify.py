"""A real release verifies; whatever is altered is found and named."""

from __future__ import annotations

from fedgestalt.lineage import verify


def test_a_real_release_verifies_with_pinned_keys(release) -> None:
    result = verify(
        release.manifest,
        release.computation,
        release.proof,
        hub_key=release.hub_key,
        identities=release.identities,
    )
    assert result.signers == tuple(sorted(release.identities))
    assert result.unpinned == ()
