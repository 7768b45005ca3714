"""The board over the wire: slots, signatures, senders, long polls, completeness."""

from __future__ import annotations

import threading
import time

import pytest

from fedgestalt.crypto.keys import Identity, SigningKey
from fedgestalt.exchange.errors import (
    Code,
    RefusedError,
    RoundOverError,
    SlotTakenError,
    UntrustedExchangeError,
)
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.exchange.view import BoardView
from fedgestalt.secagg.messages import Kind, Slot, sign

from .conftest import ROUND, Federation, digest_of


def test_messages_come_back_in_order_as_the_bytes_that_were_posted(enrolled: Federation) -> None:
    west = enrolled.client("west")
    message = enrolled.endorse("west")
    receipt = west.post(message)
    entries = west.entries(ROUND, 0)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[-1].message == message
    assert receipt.seq == 5
    assert [entry.received for entry in entries] == sorted(entry.received for entry in entries)
    assert west.entries(ROUND, 5) == []


def test_the_same_bytes_again_get_the_same_receipt_and_other_bytes_are_refused(enrolled: Federation) -> None:
    west = enrolled.client("west")
    first = west.post(enrolled.endorse("west"))
    assert west.post(enrolled.endorse("west")) == first
    with pytest.raises(SlotTakenError):
        west.post(enrolled.endorse("west", value=1))
    assert len(west.entries(ROUND, 0)) == 5


def test_a_message_signed_by_another_key_is_refused(enrolled: Federation) -> None:
    with pytest.raises(RefusedError) as refusal:
        enrolled.client("west").post(enrolled.endorse("west", key=SigningKey.generate()))
    assert refusal.value.code is Code.SIGNATURE_INVALID


def test_the_identity_itself_cannot_speak_after_enrolment(enrolled: Federation) -> None:
    with pytest.raises(RefusedError) as refusal:
        enrolled.client("west").post(enrolled.endorse("west", key=enrolled.silos["west"]))
    assert refusal.value.code is Code.SIGNATURE_INVALID


def test_an_enrolment_is_signed_by_the_registered_identity(federation: Federation) -> None:
    federation.open_round()
    forged = federation.enrol_message("west", signer=Identity.generate())
    with pytest.raises(RefusedError) as refusal:
        federation.client("west").post(forged.encode())
    assert refusal.value.code is Code.SIGNATURE_INVALID


def test_a_delegation_by_another_key_is_refused(federation: Federation) -> None:
    federation.open_round()
    message = federation.enrol_message("west")
    body = {**message.body, "delegation": bytes(64)}
    with pytest.raises(RefusedError) as refusal:
        federation.client("west").post(sign(message.slot, body, (), federation.silos["west"]).encode())
    assert refusal.value.code is Code.SIGNATURE_INVALID


def test_a_silo_cannot_post_as_another_or_as_the_hub(enrolled: Federation) -> None:
    west = enrolled.client("west")
    for message in (
        enrolled.endorse("east"),
        enrolled.hub_message(Kind.ROSTER, {"silos": ["east", "north", "west"]}),
    ):
        with pytest.raises(RefusedError) as refusal:
            west.post(message)
        assert refusal.value.code is Code.FORBIDDEN


LAST_WORDS = {
    Kind.FAILED: {"reason": "Deleted", "message": "the round was deleted"},
    Kind.RELEASED: {"digest": bytes(32), "signers": ["east", "north", "west"]},
}


@pytest.mark.parametrize("last", LAST_WORDS)
def test_the_hub_decides_nothing_in_a_round_that_it_ended(enrolled: Federation, last: Kind) -> None:
    hub, west = enrolled.client("hub"), enrolled.client("west")
    ended = enrolled.hub_message(last, LAST_WORDS[last])
    hub.post(ended)
    hub.post(ended)
    with pytest.raises(RoundOverError):
        hub.post(enrolled.hub_message(Kind.STAGE, {}))
    west.post(enrolled.endorse("west"))
    assert [entry.seq for entry in west.entries(ROUND, 0) if entry.message == ended] == [5]


def test_bytes_that_are_no_message_are_refused(enrolled: Federation) -> None:
    west = enrolled.client("west")
    altered = enrolled.endorse("west").replace(bytes(32), b"\1" * 32)
    transport = west._transport
    for content, code in (
        (altered, Code.SIGNATURE_INVALID),
        (b"\xff" * 10, Code.MESSAGE_INVALID),
        (b"", Code.MESSAGE_INVALID),
        (bytes(256 * 1024 + 1), Code.TOO_LARGE),
    ):
        with pytest.raises(RefusedError) as refusal:
            transport.request("POST", f"/rounds/{ROUND}/messages", content=content)
        assert refusal.value.code is code


def test_a_silo_that_the_computation_does_not_name_sees_nothing_of_the_round(federation: Federation) -> None:
    federation.open_round(members=("east", "north"))
    west = federation.client("west")
    with pytest.raises(RefusedError) as refusal:
        west.entries(ROUND, 0)
    assert refusal.value.code is Code.NOT_IN_ROUND
    with pytest.raises(RefusedError) as refusal:
        west.post(federation.enrol_message("west").encode())
    assert refusal.value.code is Code.NOT_IN_ROUND


def test_before_the_computation_a_silo_waits_and_cannot_post(federation: Federation) -> None:
    west = federation.client("west")
    assert west.entries(ROUND, 0) == []
    with pytest.raises(RefusedError) as refusal:
        west.post(federation.enrol_message("west").encode())
    assert refusal.value.code is Code.ROUND_NOT_OPEN


def test_a_long_poll_wakes_on_a_new_message(enrolled: Federation) -> None:
    west, east = enrolled.client("west"), enrolled.client("east")
    west.entries(ROUND, 0)
    found: list[tuple[float, int]] = []

    def poll() -> None:
        found.extend((time.monotonic(), entry.seq) for entry in west.entries(ROUND, 4, wait=20))

    thread = threading.Thread(target=poll)
    thread.start()
    time.sleep(0.3)
    assert not found
    east.post(enrolled.endorse("east"))
    posted = time.monotonic()
    thread.join(10)
    assert [seq for _, seq in found] == [5]
    assert found[0][0] - posted < 5  # far below the 20 s that it would have waited


def test_a_long_poll_ends_by_itself(enrolled: Federation) -> None:
    west = enrolled.client("west")
    west.entries(ROUND, 0)
    began = time.monotonic()
    assert west.entries(ROUND, 4, wait=0.3) == []
    assert 0.25 < time.monotonic() - began < 5


def test_a_message_is_complete_once_its_blob_is_and_pollers_learn_it(enrolled: Federation) -> None:
    data = b"masked vector" * 100
    west = enrolled.client("west")
    view = BoardView(enrolled.client("hub"), ROUND)
    view.refresh()
    west.post(enrolled.masked("west", data))
    assert [(entry.seq, entry.complete) for entry in view.refresh(wait=5)] == [(5, False)]
    assert view.refresh() == []
    changed: list[tuple[int, bool]] = []
    thread = threading.Thread(
        target=lambda: changed.extend((entry.seq, entry.complete) for entry in view.refresh(wait=20))
    )
    thread.start()
    west.upload(ROUND, digest_of(data), data)
    thread.join(10)
    assert changed == [(5, True)]
    assert view.refresh() == []
    assert view.entries[4].complete


def test_a_deleted_blob_leaves_its_message_complete(enrolled: Federation) -> None:
    data = b"a masked vector."
    hub, west = enrolled.client("hub"), enrolled.client("west")
    west.upload(ROUND, digest_of(data), data)
    west.post(enrolled.masked("west", data))
    hub.delete_blob(ROUND, digest_of(data))
    assert hub.entries(ROUND, 0)[-1].complete


def test_a_receipt_of_another_hub_key_is_not_believed(enrolled: Federation) -> None:
    credential = KeyCredential(enrolled.silos["west"], Role.SILO, "west", enrolled.hub.public)
    west = enrolled.client("west", credential=credential, hub_key=Identity.generate().public)
    with pytest.raises(UntrustedExchangeError):
        west.post(enrolled.endorse("west"))
    with pytest.raises(UntrustedExchangeError):
        west.entries(ROUND, 0)


def test_large_boards_come_in_pages(enrolled: Federation) -> None:
    west = enrolled.client("west")
    for t in range(12):
        slot = Slot(ROUND, 1, "", t, 0, Kind.SCORE, "west")
        west.post(sign(slot, {"table": bytes(128 * 1024)}, (), enrolled.delegated["west"]).encode())
    view = BoardView(enrolled.client("hub"), ROUND)
    view.refresh()
    assert [entry.seq for entry in view.entries] == list(range(1, 17))
    assert 4 < len(west.entries(ROUND, 0)) < 16
