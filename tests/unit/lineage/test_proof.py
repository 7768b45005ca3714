"""A proof is a canonical list of the messages that belong into it, each once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fedgestalt.crypto.encoding import encode
from fedgestalt.lineage import Proof, ProofError, collect
from fedgestalt.secagg.kinds import Kind

from .conftest import Released


def test_a_board_without_a_release_has_no_proof(release: Released) -> None:
    with pytest.raises(ProofError, match="not come to a release"):
        collect(m for m in release.board if m.slot.kind is not Kind.RELEASED)


def test_messages_stand_in_the_boards_order_and_only_the_try_that_ended_a_round_is_kept(
    release: Released,
) -> None:
    kept = Proof.parse(release.proof).messages
    order = {m.slot: place for place, m in enumerate(release.board)}
    places = [order[m.slot] for m in kept]
    assert places == sorted(places)
    ends = [(m.slot.member, m.slot.t) for m in kept if m.slot.kind is Kind.ADVANCE]
    assert ends == [("m0", 1), ("m0", 2), ("evaluation", 1)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda items: b"",
        lambda items: encode([]),
        lambda items: encode({"a": 1}),
        lambda items: encode([*items, b"x"]),
        lambda items: encode([*items, 7]),
        lambda items: encode([*items, items[-1]]),
        lambda items: encode(items)[:-1],
        lambda items: encode(items) + b"\0",
    ],
)
def test_bytes_that_are_no_proof_are_refused(
    release: Released, spoil: Callable[[list[bytes]], bytes]
) -> None:
    items = [m.encode() for m in Proof.parse(release.proof).messages]
    with pytest.raises(ProofError):
        Proof.parse(spoil(items))


def test_a_message_of_another_kind_does_not_belong_in_a_proof(release: Released) -> None:
    stray = next(m for m in release.board if m.slot.kind is Kind.OPENING)
    items = [m.encode() for m in (*Proof.parse(release.proof).messages, stray)]
    with pytest.raises(ProofError, match="does not belong"):
        Proof.parse(encode(items))
