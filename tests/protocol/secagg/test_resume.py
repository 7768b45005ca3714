"""Kills: a session rebuilt over the same store and board goes on with the same bytes."""

import numpy as np
import pytest

from fedgestalt.secagg.effects import Masked, Post
from fedgestalt.secagg.errors import SpoolLostError
from fedgestalt.secagg.kinds import FaultReason, Kind

AT = ("r50", 1, 1)


def test_all_silos_killed_at_any_message_boundary_still_get_the_same_sum(make_federation):
    undisturbed = make_federation(4)
    undisturbed.enrol()
    undisturbed.sum()
    count = len(undisturbed.board.messages)
    expected = undisturbed.expected("r50", 1, undisturbed.names)
    for boundary in range(count):
        federation = make_federation(4)
        for silo in federation.silos.values():
            silo.crash_at = boundary
        assert federation.enrol()
        assert federation.sum() == federation.names
        for silo in federation.silos.values():
            assert silo.crash_at is None
            assert np.array_equal(silo.sums["r50", 1], expected), boundary


def test_a_rebuilt_session_writes_the_same_messages(make_federation):
    federation = make_federation(4)
    assert federation.enrol()
    federation.sum()
    posts = {e.message.slot: e.message.encode() for e in federation.effects("berlin", Post)}
    federation.silos["berlin"].log.clear()
    federation.silos["berlin"].restart()
    federation.pump()
    again = {e.message.slot: e.message.encode() for e in federation.effects("berlin", Post)}
    assert again.keys() >= {s for s in posts if s.kind not in (Kind.KEYS, Kind.MASKED)}
    assert all(posts[slot] == data for slot, data in again.items())


@pytest.fixture
def announced(make_federation):
    """A federation in which berlin announced its masked vector and was killed before it could spool it."""
    federation = make_federation(4)
    assert federation.enrol()
    silo = federation.silos["berlin"]
    silo.die = (Kind.MASKED, "before")
    federation.decide(Kind.KEYSET, {"silos": sorted(federation.posted(Kind.KEYS, AT))}, AT)
    federation.decide(Kind.SENDERS, {"silos": sorted(federation.posted(Kind.SHARES, AT))}, AT)
    assert not silo.alive
    silo.die = None
    silo.work = lambda: None
    made = [effect for effect in silo.log if isinstance(effect, Masked)][-1]
    silo.log.clear()
    silo.spool.clear()
    silo.restart()
    federation.pump()
    return federation, silo, made


def test_an_announced_vector_is_named_after_a_restart_without_its_bytes(announced):
    _, silo, made = announced
    assert [e for e in silo.log if isinstance(e, Masked)] == [Masked(made.message, None)]
    assert silo.session.announced("r50", 1) == made.message.blobs[0]


def test_the_same_vector_gives_the_announced_bytes_again(announced):
    federation, silo, made = announced
    (again,) = silo.session.submit("r50", 1, federation.vector("berlin", "r50", 1))
    assert again.data == made.data
    assert again.message == made.message


def test_another_vector_under_spent_masks_is_refused_and_the_try_forfeited(announced):
    federation, silo, _ = announced
    other = federation.vector("berlin", "r50", 1).copy()
    other[0] += np.uint32(1)
    with pytest.raises(SpoolLostError, match="another vector"):
        silo.session.submit("r50", 1, other)
    fault = silo.session.fault(FaultReason.SPOOL_LOST, "the spool is gone", "r50", 1)
    assert fault[0].message.slot.attempt == 1
    silo.handle(fault)
    federation.vectors["berlin", "r50", 1] = other
    # The next try has fresh masks, under which the vector may be sent.
    federation.decide(Kind.RETRY, {"reason": "SpoolLost", "scale": 1}, AT)
    outcome, _ = federation._try(("r50", 1, 2), None)
    assert outcome == federation.names
    assert np.array_equal(silo.sums["r50", 1], federation.expected("r50", 1, federation.names))


def test_a_lost_store_forfeits_the_try_instead_of_drawing_new_secrets(make_federation):
    federation = make_federation(4)
    assert federation.enrol()
    federation.pump()
    silo = federation.silos["berlin"]
    silo.store.delete("secagg/0192-test/1/r50/")
    federation.decide(Kind.KEYSET, {"silos": list(federation.names)}, AT)
    fault = federation.posted(Kind.FAULT, AT)["berlin"]
    assert fault.body["reason"] == FaultReason.SPOOL_LOST
    assert "berlin" not in federation.posted(Kind.SHARES, AT)


def test_closing_deletes_the_secrets_but_not_the_epoch_or_the_ledger(make_federation):
    federation = make_federation(4)
    assert federation.enrol()
    federation.sum()
    silo = federation.silos["aachen"]
    frame = silo.session.epoch_key("frame")
    silo.session.close()
    assert not [key for key in silo.store.entries if key.startswith("secagg/")]
    assert silo.session.epoch_key("frame") == frame
    assert silo.store.get("ledger/0192-test/r50/1") is not None
