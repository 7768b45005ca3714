"""Real releases verify, and nothing is trusted in silence."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.lineage import Finding, Proof, VerificationError, Verified, collect, verify
from fedgestalt.secagg.kinds import Kind
from fedgestalt.secagg.messages import Message

from .conftest import Released, released
from .federation import TABLE, ReleasingHub


def check(release: Released, parent: Released | None = None) -> Verified:
    return verify(
        release.manifest,
        release.computation,
        release.proof,
        hub_key=release.hub_key,
        identities=release.identities,
        parent=None if parent is None else parent.manifest,
    )


def test_a_real_release_verifies_with_pinned_keys_and_leaves_nothing_on_trust(release: Released) -> None:
    result = check(release)
    assert result.unpinned == ()
    assert result.signers == tuple(sorted(release.identities))
    assert result.identities == release.identities
    assert result.table == TABLE
    assert result.manifest.digest == hashlib.sha256(release.manifest).hexdigest()


@pytest.mark.parametrize("died", [("masked", 1), ("reveal", 2), ("model", 1)])
def test_a_release_from_which_one_silo_was_lost_on_the_way_verifies(died: tuple[str, int]) -> None:
    hub = ReleasingHub(4, {"silo-02": died}).release()
    result = check(released(hub))
    assert "silo-02" not in result.signers
    assert ("silo-02" in result.manifest.members[0].rounds[0].survivors) == (died[0] != "masked")


def test_a_release_whose_first_enrolment_was_void_is_proved_by_the_second_alone() -> None:
    hub = ReleasingHub(4, {"silo-02": ("confirm", 0)}).release()
    release = released(hub)
    assert {m.slot.enrolment for m in hub.messages} == {0, 1, 2}
    assert check(release).manifest.enrolment == 2


def test_an_adopted_release_verifies_beside_its_parent(release: Released, adopted: Released) -> None:
    result = check(adopted, release)
    assert result.unpinned == ()
    assert result.manifest.parents == (hashlib.sha256(release.manifest).hexdigest(),)
    assert result.manifest.epoch == check(release).manifest.epoch
    assert set(result.manifest.rows) == {f"silo-0{i}" for i in range(5)}


def test_a_rotated_release_verifies_although_its_models_have_a_departed_silo_among_their_survivors(
    release: Released, rotated: Released
) -> None:
    result = check(rotated, release)
    assert result.unpinned == ()
    assert "silo-03" not in result.manifest.roster
    assert "silo-03" in result.manifest.members[0].rounds[0].survivors
    assert result.manifest.epoch == result.manifest.h


@pytest.mark.parametrize("which", ["adopted", "rotated"])
def test_what_is_taken_over_from_a_parent_that_is_not_at_hand_is_said(
    which: str, request: pytest.FixtureRequest
) -> None:
    unpinned = check(request.getfixturevalue(which)).unpinned
    assert len(unpinned) == 1
    assert "not at hand" in unpinned[0]


def test_another_parent_is_refused(adopted: Released, rotated: Released) -> None:
    with pytest.raises(VerificationError) as error:
        check(adopted, rotated)
    assert {p.finding for p in error.value.problems} == {Finding.PARENT_MISMATCH}


def test_keys_that_the_caller_does_not_pin_are_named(release: Released) -> None:
    parts = release.manifest, release.computation, release.proof
    some = {"silo-00": release.identities["silo-00"]}
    both = verify(*parts, hub_key=None, identities=None).unpinned
    assert len(both) == 2
    assert "hub" in both[1]
    (rest,) = verify(*parts, hub_key=release.hub_key, identities=some).unpinned
    assert "silo-01, silo-02, silo-03" in rest
    assert "silo-00" not in rest


def test_a_federation_that_somebody_made_up_fails_once_keys_are_pinned(release: Released) -> None:
    """Every signature in it holds; only the keys are not those that the reader knows."""
    invented = released(ReleasingHub(4).release())
    parts = invented.manifest, invented.computation, invented.proof
    assert verify(*parts, hub_key=None, identities=None).unpinned
    with pytest.raises(VerificationError) as error:
        verify(*parts, hub_key=None, identities=release.identities)
    assert {p.finding for p in error.value.problems} == {Finding.IDENTITY_MISMATCH}
    with pytest.raises(VerificationError) as error:
        verify(*parts, hub_key=Identity.generate().public, identities=None)
    assert {p.finding for p in error.value.problems} == {Finding.SIGNATURE_INVALID}
    assert len(error.value.problems) == sum(m.slot.sender == "hub" for m in _in_proof(invented))


def test_a_proof_holds_no_masked_vector_key_or_share(release: Released, adopted: Released) -> None:
    kinds = {m.slot.kind for m in (*_in_proof(release), *_in_proof(adopted))}
    secret = {Kind.OPENING, Kind.KEYS, Kind.SHARES, Kind.MASKED, Kind.REVEAL, Kind.WELCOME, Kind.RANKINGS}
    assert not kinds & secret
    assert Kind.ADMIT in kinds


def test_a_board_gives_the_same_proof_to_everyone_even_after_late_messages(release: Released) -> None:
    place = next(i for i, m in enumerate(release.board) if m.slot.kind is Kind.SCORE)
    late = [*release.board[:place], *release.board[place + 1 :], release.board[place]]
    without = [*release.board[:place], *release.board[place + 1 :]]
    assert collect(iter(release.board)) == release.proof
    assert collect(late) == collect(without) != release.proof


def _in_proof(release: Released) -> tuple[Message, ...]:
    return Proof.parse(release.proof).messages


def test_every_problem_has_its_row_in_the_reference() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "release.md"
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page.read_text().partition("## Verification")[2], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {str(finding) for finding in Finding}
