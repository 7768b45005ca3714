"""What an enrolment that stands gives, and what a session refuses to be asked."""

import json

import pytest

from fedgestalt.crypto.errors import SealError
from fedgestalt.crypto.keys import Identity, Purpose
from fedgestalt.crypto.sealing import seal
from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.effects import Enrolled
from fedgestalt.secagg.errors import SessionError
from fedgestalt.secagg.kinds import FaultReason, Kind
from fedgestalt.secagg.messages import Slot, verify
from fedgestalt.secagg.session import SiloSession, epoch_subkey

ROUND = "0192-test"


def test_all_silos_hold_the_same_keys_and_roster(make_federation):
    federation = make_federation(5)
    assert federation.enrol()
    sessions = [silo.session for silo in federation.silos.values()]
    assert len({session.h for session in sessions}) == 1
    assert len({session.run_key("audit") for session in sessions}) == 1
    assert len({session.epoch_key(Purpose.FRAME) for session in sessions}) == 1
    assert sessions[0].roster == federation.names
    assert sessions[0].weights == federation.weights
    (effect,) = federation.effects("aachen", Enrolled)
    assert (effect.h, effect.roster) == (sessions[0].h, federation.names)


def test_subkeys_differ_by_purpose_and_key_and_the_protocols_own_stay_inside(make_federation):
    federation = make_federation(3)
    assert federation.enrol()
    session = federation.silos["aachen"].session
    keys = {session.epoch_key(p) for p in (Purpose.FRAME, Purpose.TOKEN, Purpose.BUNDLE)}
    keys |= {session.run_key(p) for p in (Purpose.FRAME, Purpose.TOKEN, Purpose.BUNDLE)}
    assert len(keys) == 6
    for purpose in (Purpose.BLIND, Purpose.CHECK, Purpose.CONFIRM, Purpose.RUN):
        with pytest.raises(SessionError, match="own"):
            session.run_key(purpose)


def test_two_enrolments_share_nothing(make_federation):
    one, two = make_federation(3, seed="1"), make_federation(3, seed="2")
    assert one.enrol()
    assert two.enrol()
    a, b = one.silos["aachen"].session, two.silos["aachen"].session
    assert a.h != b.h
    assert a.epoch_key(Purpose.FRAME) != b.epoch_key(Purpose.FRAME)


def test_the_epoch_key_outlives_the_session_in_the_store(make_federation):
    federation = make_federation(3)
    assert federation.enrol()
    silo = federation.silos["aachen"]
    assert epoch_subkey(silo.store, silo.session.h, Purpose.TOKEN) == silo.session.epoch_key(Purpose.TOKEN)
    with pytest.raises(SessionError, match="no key of that epoch"):
        epoch_subkey(silo.store, b"\0" * 32, Purpose.TOKEN)


def test_a_round_on_an_old_epoch_draws_no_new_one(make_federation):
    federation = make_federation(3)
    document = {
        "round": ROUND,
        "newEpoch": False,
        "silos": {name: silo.identity.public.hex() for name, silo in federation.silos.items()},
        "spec": {"quorum": {"minSilos": 3}},
    }
    federation.computation = Computation.parse(json.dumps(document).encode())
    assert federation.enrol()
    with pytest.raises(SessionError, match="no key of that epoch"):
        federation.silos["aachen"].session.epoch_key(Purpose.FRAME)


def test_nothing_can_be_asked_of_a_session_before_it_is_enrolled(make_federation):
    federation = make_federation(3)
    silo = federation.silos["aachen"]
    silo.enrol(1)
    for ask in (
        lambda s: s.begin("r50", 1, bytes(32)),
        lambda s: s.submit("r50", 1, federation.vector("aachen", "r50", 1)),
        lambda s: s.confirm_model("r50", 1, bytes(32)),
        lambda s: s.run_key("audit"),
        lambda s: s.epoch_key(Purpose.FRAME),
    ):
        with pytest.raises(SessionError):
            ask(silo.session)
    post, _ = silo.session.fault(FaultReason.TRAINER_FAILED, "no trainer", "r50", 1)
    assert (post.message.slot.member, post.message.slot.t) == ("", 0)


def test_one_slot_holds_one_fault(make_federation):
    federation = make_federation(3)
    silo = federation.silos["aachen"]
    silo.enrol(1)
    assert len(silo.session.fault(FaultReason.TRAINER_FAILED, "once")) == 2
    assert len(silo.session.fault(FaultReason.DATA_INVALID, "twice")) == 1


def test_later_messages_are_signed_with_the_delegated_key(make_federation):
    federation = make_federation(3)
    assert federation.enrol()
    one, other = (federation.silos[name].session for name in ("aachen", "berlin"))
    counts = {"gallery": 3, "test": 1, "undiagnosed": 0}
    named = {name: bytes(32) for name in ("digest", "bundle", "sealed", "epoch_check", "data")}
    message = one.message(Kind.ROWS, {**counts, **named}, blobs=("00" * 32,))
    other.verify(message)
    verify(message, federation.posted(Kind.ENROL)["aachen"].body["signing"])
    with pytest.raises(SessionError, match="own business"):
        one.message(Kind.ACCEPT, {"ctx": bytes(32), "silos": ["aachen"]}, member="r50", t=1)


def test_what_the_hub_seals_to_a_silo_opens_there_alone(make_federation):
    federation = make_federation(3)
    assert federation.enrol()
    one, other = (federation.silos[name].session for name in ("aachen", "berlin"))
    slot = Slot(ROUND, 1, "", 0, 0, Kind.RANKINGS, "hub")
    recipient = federation.posted(Kind.ENROL)["aachen"].body["sealing"]
    sealed = seal(b"ranks", recipient=recipient, slot=slot.encode(), salt=one.h, seed=b"\1" * 32)
    assert one.unseal(sealed, slot) == b"ranks"
    with pytest.raises(SealError):
        other.unseal(sealed, slot)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "zwickau"}, "does not list"),
        ({"identity": Identity.from_seed(b"\1" * 32)}, "does not list"),
        ({"weight": 5}, "two significant bits"),
        ({"not_after": 10}, "expired"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(make_federation, changes, why):
    federation = make_federation(3)
    silo = federation.silos["aachen"]
    arguments = {"name": "aachen", "identity": silo.identity, "weight": 3, "not_after": 1000, **changes}
    with pytest.raises(SessionError, match=why):
        SiloSession(
            arguments["name"],
            arguments["identity"],
            federation.computation,
            1,
            arguments["weight"],
            silo.store,
            hub_key=federation.hub_key.public,
            not_after=arguments["not_after"],
            now=100,
        )
