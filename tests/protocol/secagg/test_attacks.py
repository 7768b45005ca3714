"""A hub, or a proxy before it, that does not keep to the protocol."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from fedgestalt.crypto.delegation import Delegation
from fedgestalt.crypto.keys import Identity, SigningKey
from fedgestalt.crypto.masks import Mask
from fedgestalt.secagg import attempt as attempt_module
from fedgestalt.secagg.context import pair_key, try_context
from fedgestalt.secagg.effects import Fault, Ignored, Post, Summed
from fedgestalt.secagg.keyring import TrySecrets
from fedgestalt.secagg.kinds import FaultReason, Kind
from fedgestalt.secagg.messages import Slot, sign

AT = ("r50", 1, 1)
ROUND = "0192-test"


def reasons(federation, name):
    return [effect.reason for effect in federation.effects(name, Fault)]


def posted_kinds(effects):
    return [effect.message.slot.kind for effect in effects if isinstance(effect, Post)]


def up_to(federation, kind):
    """Decide (r50, 1, 1) up to the decision ``kind``, over all silos."""
    assert federation.enrol()
    for gathered, decision in (
        (Kind.KEYS, Kind.KEYSET),
        (Kind.SHARES, Kind.SENDERS),
        (Kind.MASKED, Kind.SURVIVORS),
    ):
        federation.pump()
        if decision is kind:
            return
        federation.decide(decision, {"silos": sorted(federation.posted(gathered, AT))}, AT)


# Two survivor sets


def test_a_share_and_a_pair_seed_are_never_revealed_of_one_silo(make_federation):
    federation = make_federation(7)
    assert federation.enrol()
    for name in ("berlin", "fulda"):
        federation.silos[name].die = (Kind.MASKED, "before")
    survivors = federation.sum()
    reveals = federation.posted(Kind.REVEAL, AT)
    assert len(reveals) == 5
    for message in reveals.values():
        assert set(message.body["self"]) == set(survivors)
        assert set(message.body["pair"]) == {"berlin", "fulda"}


def test_a_second_survivor_set_in_the_same_try_is_ignored(make_federation):
    federation = make_federation(5)
    up_to(federation, None)
    slot = Slot(ROUND, 1, *AT, Kind.SURVIVORS, "hub")
    second = sign(slot, {"silos": ["aachen", "berlin", "coburg", "dresden"]}, (), federation.hub_key)
    (effect,) = federation.silos["aachen"].session.on(second)
    assert isinstance(effect, Ignored)


def test_another_survivor_set_in_a_rewound_board_is_refused_after_a_restart(make_federation):
    federation = make_federation(5)
    up_to(federation, None)
    silo = federation.silos["aachen"]
    assert Kind.REVEAL in posted_kinds(silo.log)
    # The hub forgets everything since the survivors and tells the restarted silo of a set without essen.
    rewound = [m for m in federation.board.messages if m.slot.kind not in (Kind.ACCEPT, Kind.REVEAL)]
    rewound = [m for m in rewound if m.slot.kind is not Kind.SURVIVORS]
    federation.board.messages[:] = rewound
    federation.board._slots = {m.slot: m.encode() for m in rewound}
    silo.log.clear()
    silo.restart()
    federation.pump()
    slot = Slot(ROUND, 1, *AT, Kind.SURVIVORS, "hub")
    other = sign(slot, {"silos": ["aachen", "berlin", "coburg", "dresden"]}, (), federation.hub_key)
    effects = silo.session.on(other)
    assert posted_kinds(effects) == [Kind.FAULT]
    assert effects[-1].reason is FaultReason.SURVIVOR_SET_BURNT


def test_another_survivor_set_in_a_later_try_is_refused_whatever_others_sign(make_federation):
    federation = make_federation(5)
    up_to(federation, None)
    federation.decide(Kind.RETRY, {"reason": "again", "scale": 1}, AT)
    outcome, _ = federation._try(("r50", 1, 2), ["aachen", "berlin", "coburg", "dresden"])
    assert outcome == "retry"
    for name in ("aachen", "berlin", "coburg", "dresden"):
        assert FaultReason.SURVIVOR_SET_BURNT in reasons(federation, name)
    assert not federation.posted(Kind.ACCEPT, ("r50", 1, 2))
    assert not federation.posted(Kind.REVEAL, ("r50", 1, 2))


@pytest.mark.parametrize("chosen", [["aachen", "berlin"], ["aachen", "berlin", "coburg"]])
def test_a_survivor_set_below_the_quorum_is_refused(make_federation, chosen):
    federation = make_federation(5)
    up_to(federation, Kind.SURVIVORS)
    federation.decide(Kind.SURVIVORS, {"silos": chosen}, AT)
    assert FaultReason.SURVIVOR_SET_INVALID in reasons(federation, "aachen")
    assert not federation.posted(Kind.ACCEPT, AT)


def test_min_silos_holds_where_it_is_more_than_the_quorum(make_federation):
    federation = make_federation(5, min_silos=5)
    up_to(federation, Kind.SURVIVORS)
    federation.decide(Kind.SURVIVORS, {"silos": list(federation.names[:4])}, AT)
    assert not federation.posted(Kind.ACCEPT, AT)


def test_no_share_leaves_before_a_quorum_of_signatures(make_federation):
    federation = make_federation(5)
    for name in ("berlin", "dresden"):
        federation.silos[name].die = (Kind.ACCEPT, "before")
    up_to(federation, None)
    assert len(federation.posted(Kind.ACCEPT, AT)) == 3
    assert not federation.posted(Kind.REVEAL, AT)


# Model, sum, key set


def test_different_global_models_are_noticed_before_any_share_leaves(make_federation):
    federation = make_federation(4)
    federation.silos["dresden"].models = {}
    federation.tasks = []
    assert federation.enrol()
    for name, silo in federation.silos.items():
        model = b"\1" * 32 if name == "dresden" else b"\0" * 32
        silo.handle(silo.session.begin("r50", 1, model))
    federation.decide(Kind.KEYSET, {"silos": list(federation.names)}, AT)
    assert not federation.posted(Kind.SHARES, AT)
    assert all(FaultReason.MODEL_MISMATCH in reasons(federation, name) for name in federation.names)


def test_a_context_names_all_that_it_is_bound_to():
    base = (b"\0" * 32, "r50", 1, 1, {"a": b"\1" * 32, "b": b"\2" * 32}, b"\3" * 32)
    others = [
        (b"\1" * 32, *base[1:]),
        (base[0], "r18", *base[2:]),
        (*base[:2], 2, *base[3:]),
        (*base[:3], 2, *base[4:]),
        (*base[:4], {"a": b"\1" * 32}, base[5]),
        (*base[:4], {"a": b"\2" * 32, "b": b"\1" * 32}, base[5]),
        (*base[:5], b"\4" * 32),
    ]
    assert len({try_context(*base), *(try_context(*other) for other in others)}) == 8


def test_masks_do_not_cancel_between_silos_with_different_models(make_federation):
    # Even a silo that skipped the check could not help the hub: ctx, and so every mask, names the model.
    secrets = TrySecrets(b"\7" * 32)
    shared = secrets.agreement.agree(TrySecrets(b"\10" * 32).agreement.public)
    assert pair_key(shared, b"\0" * 32) != pair_key(shared, b"\1" * 32)


@pytest.mark.parametrize("change", [{0: 1}, {5: 1 << 31}, {3: 1 << 31, 4: 1 << 31}, {7: 5, 8: (1 << 32) - 5}])
def test_an_altered_sum_is_caught(make_federation, change):
    federation = make_federation(4)
    up_to(federation, None)
    federation.pump()
    blob = federation.aggregate(AT)
    values = np.frombuffer(blob[:-16], dtype="<u4").copy()
    for place, amount in change.items():
        values[place] ^= np.uint32(amount)
    altered = values.tobytes() + blob[-16:]
    digest = hashlib.sha256(altered)
    federation.board.blobs[digest.hexdigest()] = altered
    federation.decide(Kind.AGGREGATE, {"digest": digest.digest(), "silos": list(federation.names)}, AT)
    assert all(reasons(federation, name) == [FaultReason.CHECK_FAILED] for name in federation.names)
    assert not any(federation.effects(name, Summed) for name in federation.names)


def test_another_blob_than_the_announced_sum_is_caught(make_federation):
    federation = make_federation(4)
    up_to(federation, None)
    blob = federation.aggregate(AT)
    federation.decide(
        Kind.AGGREGATE, {"digest": hashlib.sha256(blob).digest(), "silos": list(federation.names)}, AT
    )
    (post, fault) = federation.silos["aachen"].session.on_blob(
        hashlib.sha256(blob).hexdigest(), blob + b"\0" * 4
    )
    assert post.message.slot.kind is Kind.FAULT
    assert fault.reason is FaultReason.CHECK_FAILED
    assert "not the blob" in fault.detail


def test_a_sum_without_one_silo_is_caught(make_federation):
    federation = make_federation(4)
    up_to(federation, None)
    blob = federation.aggregate(AT)
    part = np.frombuffer(blob, dtype=np.uint8).copy()
    part[:4] ^= 0x55
    digest = hashlib.sha256(part.tobytes())
    federation.board.blobs[digest.hexdigest()] = part.tobytes()
    federation.decide(
        Kind.AGGREGATE, {"digest": digest.digest(), "silos": ["aachen", "berlin", "coburg"]}, AT
    )
    assert FaultReason.SURVIVOR_SET_INVALID in reasons(federation, "aachen")


def test_advance_needs_a_quorum_of_equal_model_hashes(make_federation):
    federation = make_federation(4)
    up_to(federation, None)
    federation.decide(Kind.ADVANCE, {"hash": b"\3" * 32, "silos": list(federation.names)}, AT)
    assert FaultReason.MODEL_MISMATCH in reasons(federation, "aachen")
    assert federation.silos["aachen"].models == {}


# Identities and signatures


def enrol_message(federation, name, identity, enrolment=1, claimed=None):
    """An enrol message for ``name`` with keys of the hub's own, signed by ``identity``."""
    signing, sealing = SigningKey.from_seed(b"\5" * 32), TrySecrets(b"\6" * 32).agreement
    delegation = Delegation(ROUND, enrolment, name, signing.public, sealing.public, 2_000_000_000)
    body = {
        "identity": claimed or identity.public,
        "signing": signing.public,
        "sealing": sealing.public,
        "not_after": 2_000_000_000,
        "delegation": delegation.sign(identity),
        "commitment": b"\0" * 32,
        "weight": 1,
    }
    return sign(Slot(ROUND, 1, "", 0, 0, Kind.ENROL, name), body, (), identity)


def test_keys_that_the_hub_substitutes_for_a_silo_are_not_believed(make_federation):
    federation = make_federation(4)
    stranger = Identity.from_seed(b"\11" * 32)
    federation.board.post(enrol_message(federation, "dresden", stranger))
    for name in ("aachen", "berlin", "coburg"):
        federation.silos[name].enrol(1)
    federation.silos["dresden"].alive = False
    federation.pump()
    federation.decide(Kind.ROSTER, {"silos": list(federation.names)})
    for name in ("aachen", "berlin", "coburg"):
        assert federation.effects(name, Ignored)
        assert reasons(federation, name) == [FaultReason.ROSTER_UNKNOWN]
    assert not federation.posted(Kind.ENDORSE)


def test_a_true_identity_beside_a_strangers_signature_is_not_believed(make_federation):
    federation = make_federation(4)
    federation.silos["aachen"].enrol(1)
    stranger = Identity.from_seed(b"\11" * 32)
    claimed = federation.silos["dresden"].identity.public
    message = enrol_message(federation, "dresden", stranger, claimed=claimed)
    (effect,) = federation.silos["aachen"].session.on(message)
    assert isinstance(effect, Ignored)


def test_a_silo_cannot_put_another_identity_behind_its_own(make_federation):
    federation = make_federation(4)
    federation.silos["aachen"].enrol(1)
    theirs = enrol_message(federation, "dresden", Identity.from_seed(b"\11" * 32))
    message = sign(theirs.slot, theirs.body, (), federation.silos["dresden"].identity)
    (effect,) = federation.silos["aachen"].session.on(message)
    assert isinstance(effect, Ignored)
    assert "not the one in the computation" in effect.why


def test_a_confirmation_of_another_key_is_refused(make_federation):
    federation = make_federation(4)
    coburg = federation.silos["coburg"]
    coburg.die = (Kind.CONFIRM, "before")
    assert not_enrolled(federation)
    slot = Slot(ROUND, 1, "", 0, 0, Kind.CONFIRM, "coburg")
    federation.board.post(sign(slot, {"mac": bytes(32)}, (), coburg.session._secrets.signing))
    federation.pump()
    assert reasons(federation, "aachen") == [FaultReason.CONFIRMATION_MISMATCH]
    federation.decide(Kind.ENROLLED, {"h": coburg.session.h, "silos": list(federation.names)})
    assert not any(silo.session.enrolled for silo in federation.live)


def test_enrolled_is_not_believed_before_all_have_confirmed(make_federation):
    federation = make_federation(4)
    federation.silos["coburg"].die = (Kind.CONFIRM, "before")
    assert not_enrolled(federation)
    h = federation.silos["aachen"].session.h
    federation.decide(Kind.ENROLLED, {"h": h, "silos": list(federation.names)})
    assert reasons(federation, "aachen") == [FaultReason.CONFIRMATION_MISMATCH]
    assert not federation.silos["aachen"].session.enrolled


def not_enrolled(federation):
    """Enrol up to the confirmations."""
    for silo in federation.silos.values():
        silo.enrol(1)
    federation.pump()
    federation.decide(Kind.ROSTER, {"silos": list(federation.names)})
    return not any(silo.session.enrolled for silo in federation.silos.values())


def test_a_delegation_of_another_enrolment_is_not_believed(make_federation):
    federation = make_federation(4)
    federation.silos["aachen"].enrol(1)
    message = enrol_message(federation, "dresden", federation.silos["dresden"].identity, enrolment=2)
    (effect,) = federation.silos["aachen"].session.on(message)
    assert isinstance(effect, Ignored)
    assert "delegation" in effect.why


def test_an_expired_delegation_is_a_skewed_clock(make_federation):
    federation = make_federation(4)
    for silo in federation.silos.values():
        silo.enrol(1)
    aachen = federation.silos["aachen"]
    aachen.session._enrolment._now = 2_000_000_301
    federation.pump()
    federation.decide(Kind.ROSTER, {"silos": list(federation.names)})
    assert reasons(federation, "aachen") == [FaultReason.CLOCK_SKEWED]
    assert reasons(federation, "berlin") == []


def test_an_opening_that_does_not_fit_its_commitment_is_refused(make_federation):
    federation = make_federation(4)
    for silo in federation.silos.values():
        silo.enrol(1)
    federation.pump()
    # coburg waits for the others and then tries to choose another contribution than it committed to.
    federation.silos["coburg"].session._secrets.opening = b"\0" * 64
    federation.decide(Kind.ROSTER, {"silos": list(federation.names)})
    assert FaultReason.COMMITMENT_MISMATCH in reasons(federation, "aachen")
    assert "aachen" not in federation.posted(Kind.CONFIRM)


def test_an_endorsement_of_another_roster_is_refused(make_federation):
    federation = make_federation(4)
    for silo in federation.silos.values():
        silo.enrol(1)
    federation.pump()
    roster = sign(
        Slot(ROUND, 1, "", 0, 0, Kind.ROSTER, "hub"),
        {"silos": list(federation.names[:3])},
        (),
        federation.hub_key,
    )
    # The hub shows aachen a smaller roster than the others see.
    shown = federation.silos["aachen"].session.on(roster)
    federation.decide(Kind.ROSTER, {"silos": list(federation.names)})
    federation.silos["aachen"].handle(shown)
    federation.pump()
    assert FaultReason.ENDORSEMENT_MISMATCH in reasons(federation, "aachen")
    assert FaultReason.ENDORSEMENT_MISMATCH in reasons(federation, "berlin")
    assert not federation.posted(Kind.OPENING)


def test_forged_replayed_and_strange_messages_have_no_effect(make_federation):
    federation = make_federation(4)
    up_to(federation, Kind.SURVIVORS)
    session = federation.silos["aachen"].session
    masked = federation.posted(Kind.MASKED, AT)["berlin"]
    moved = replace(masked, slot=replace(masked.slot, t=2))
    renamed = replace(masked, slot=replace(masked.slot, sender="coburg"))
    altered = replace(masked, body={**masked.body, "length": 16})
    hub = replace(masked, signature=bytes(64))
    by_silo = sign(
        Slot(ROUND, 1, *AT, Kind.SURVIVORS, "hub"),
        {"silos": list(federation.names)},
        (),
        federation.silos["berlin"].session._secrets.signing,
    )
    stranger = sign(
        Slot(ROUND, 1, *AT, Kind.ACCEPT, "zwickau"),
        {"ctx": bytes(32), "silos": list(federation.names)},
        (),
        SigningKey.from_seed(b"\5" * 32),
    )
    for message in (moved, renamed, altered, hub, by_silo, stranger):
        (effect,) = session.on(message)
        assert isinstance(effect, Ignored), message.slot
    assert session.on(masked) == []  # the same message once more
    other_round = replace(masked, slot=replace(masked.slot, round="another"))
    assert session.on(other_round) == []


def test_an_accept_of_another_context_does_not_count(make_federation):
    federation = make_federation(5)
    for name in ("berlin", "dresden"):
        federation.silos[name].die = (Kind.ACCEPT, "before")
    up_to(federation, None)
    session = federation.silos["aachen"].session
    key = federation.silos["berlin"].session._secrets.signing
    body = {"ctx": b"\1" * 32, "silos": list(federation.names)}
    (effect,) = session.on(sign(Slot(ROUND, 1, *AT, Kind.ACCEPT, "berlin"), body, (), key))
    assert isinstance(effect, Ignored)


def test_an_upload_that_the_silo_does_not_remember_is_not_accepted(make_federation):
    federation = make_federation(4)
    up_to(federation, Kind.SURVIVORS)
    federation.silos["aachen"].store.delete(f"secagg/{ROUND}/1/r50/1/1/masked")
    federation.decide(Kind.SURVIVORS, {"silos": list(federation.names)}, AT)
    assert reasons(federation, "aachen") == [FaultReason.SURVIVOR_SET_INVALID]
    assert "aachen" not in federation.posted(Kind.ACCEPT, AT)


# What the hub sees


def test_no_mask_is_ever_used_twice(make_federation, monkeypatch):
    used: dict[bytes, list[tuple]] = {}
    original = attempt_module.masked

    def spy(vector, run_key, ctx, masks):
        for mask in masks:
            used.setdefault(mask.key, []).append((ctx, mask.sign))
        return original(vector, run_key, ctx, masks)

    monkeypatch.setattr(attempt_module, "masked", spy)
    federation = make_federation(4, rounds=2)
    assert federation.enrol()
    for number in (1, 2):
        at = ("r50", 1, number)
        federation.decide(Kind.KEYSET, {"silos": sorted(federation.posted(Kind.KEYS, at))}, at)
        federation.decide(Kind.SENDERS, {"silos": sorted(federation.posted(Kind.SHARES, at))}, at)
        federation.decide(Kind.RETRY, {"reason": "again", "scale": 1}, at)
    assert federation._try(("r50", 1, 3), None)[0] == federation.names
    assert federation.sum(t=2) == federation.names
    contexts = {ctx for uses in used.values() for ctx, _ in uses}
    assert len(contexts) == 4
    # Six pairs, four self masks and four blinds for each of the four vectors of a silo.
    assert len(used) == 4 * (6 + 4 + 4)
    for uses in used.values():
        ctx, sign_ = uses[0]
        assert uses in ([(ctx, sign_)], [(ctx, sign_), (ctx, -sign_)])


@pytest.mark.parametrize("n", [4, 6])
def test_the_low_bits_of_an_even_sum_say_nothing_to_the_hub(make_federation, n):
    # One blind common to all silos would be added n times, and the low bits of n G are zero for even n.
    federation = make_federation(n, size=20_000)
    for name in federation.names:
        federation.vectors[name, "r50", 1] = np.zeros(20_000, dtype=np.uint32)
    up_to(federation, None)
    values = np.frombuffer(federation.aggregate(AT)[:-16], dtype="<u4")
    for bit in range(32):
        ones = int(((values >> np.uint32(bit)) & 1).sum())
        assert abs(ones - 10_000) < 5 * np.sqrt(20_000) / 2
    pairs = np.bincount((values & 3).astype(int), minlength=4)
    assert np.all(np.abs(pairs - 5_000) < 5 * np.sqrt(20_000 * 3 / 16))


def test_pair_keys_have_256_bits_that_all_depend_on_every_bit_of_the_secret():
    base = pair_key(b"\0" * 32, b"\2" * 32)
    assert len(base) == 32
    seen_set = seen_clear = 0
    for bit in range(256):
        key = pair_key((1 << bit).to_bytes(32, "big"), b"\2" * 32)
        flipped = int.from_bytes(key, "big") ^ int.from_bytes(base, "big")
        assert 80 < flipped.bit_count() < 176
        seen_set |= int.from_bytes(key, "big")
        seen_clear |= ~int.from_bytes(key, "big")
    everything = (1 << 256) - 1
    assert seen_set & everything == everything  # no bit is stuck, as in text encodings of seeds
    assert seen_clear & everything == everything


def test_nothing_secret_shows_in_the_repr_of_what_passes_through_an_agent(make_federation):
    federation = make_federation(4)
    up_to(federation, None)
    silo = federation.silos["aachen"]
    text = repr(silo.log) + repr(silo.session._party) + repr(silo.session._secrets) + repr(Mask(b"\1" * 32))
    for key, value in silo.store.entries.items():
        if key.endswith("root"):
            assert repr(value)[2:-1] not in text
    assert repr(silo.session._enrolment.run_key)[2:-1] not in text
    assert "\\x01\\x01" not in text
