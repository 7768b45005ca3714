"""Letters between owners of a cluster: read by those who both consent, and by nobody else whatever they do."""

from itertools import pairwise

import pytest

from fedgestalt.flake import FlakeError
from fedgestalt.flake.consent import (
    CONTACT_BYTES,
    LETTER_LENGTH,
    MAX_AGE,
    Correspondent,
    Relay,
    Word,
)

GROUP = bytes([9]) * 32
NAMES = ("east", "north", "south", "west")
NOW = 1_790_000_000.0


def owner(name, group=GROUP):
    return Correspondent.of(name.encode().ljust(32, b"-"), group, b"finding of " + name[:5].encode())


class Hub:
    """A relay with what it was given, and owners that read and write by turns."""

    def __init__(self, owners):
        self.owners = owners
        self.relay = Relay(tuple(sorted(owners)), b"\1" * 32)
        self.known = {name: o.key for name, o in owners.items()}
        self.sent, self.turns = {}, dict.fromkeys(owners, 0)

    def passed(self, name):
        return self.relay.letters(name, self.known, self.sent, self.turns[name])

    def turn(self, name, consents, now=NOW):
        me = self.owners[name]
        received = me.read(self.passed(name), now=now)
        contact = (lambda _: f"call {name}".encode()) if consents else None
        self.sent[name] = me.write(self.relay.keys(self.known), received, contact, now=now)
        self.turns[name] += 1
        return sorted((letter.word, letter.contact) for letter in received.values())


def hub(*names, **groups):
    return Hub({name: owner(name, groups.get(name, GROUP)) for name in names or NAMES})


def test_two_who_consent_read_each_other_and_the_others_only_that_somebody_asks():
    h = hub()
    consents = {"east": True, "north": False, "south": True, "west": False}
    for _ in range(3):
        last = {name: h.turn(name, yes) for name, yes in consents.items()}
    assert last["east"] == [(Word.ANSWERS, b"call south")]
    assert last["south"] == [(Word.ANSWERS, b"call east")]
    assert last["north"] == last["west"] == [(Word.ASKS, b""), (Word.ASKS, b"")]


def test_a_contact_is_not_written_before_it_is_asked_for():
    h = hub()
    h.turn("east", True)
    for name in ("north", "south", "west"):
        assert h.turn(name, False) == [(Word.ASKS, b"")]
    h.turn("east", True)
    assert h.turn("north", False) == [(Word.ASKS, b"")]


def test_a_consent_that_is_withdrawn_before_the_others_leaves_them_nothing():
    h = hub()
    h.turn("east", True)
    assert h.turn("west", False) == [(Word.ASKS, b"")]
    h.turn("east", False)
    for _ in range(3):
        assert h.turn("west", True) == []
        assert h.turn("east", False) == [(Word.ASKS, b"")]


def test_to_the_hub_all_letters_look_alike_and_change_whether_something_was_decided_or_not():
    h = hub()
    seen = {name: [] for name in NAMES}
    for consents in ((), ("east",), ("east", "west"), ("east", "west"), ("west",)):
        for name in NAMES:
            h.turn(name, name in consents)
            seen[name].append(dict(h.sent[name]))
    for turns in seen.values():
        for before, after in pairwise(turns):
            assert before.keys() == after.keys()
            assert all(before[key] != after[key] for key in before)
        assert {len(letter) for turn in turns for letter in turn.values()} == {LETTER_LENGTH}


def test_noise_of_the_hub_changes_as_true_letters_do():
    h = hub("east", "north", "south")
    del h.known["north"]
    first = h.passed("east")
    h.turn("east", False)
    second = h.passed("east")
    assert first.keys() == second.keys()
    assert all(first[key] != second[key] for key in first)
    assert h.passed("east") == second


def test_the_list_of_keys_is_filled_up_to_the_band_of_owners():
    for owners, listed in ((3, 4), (4, 4), (5, 8), (16, 16), (17, 32)):
        names = tuple(f"silo{i:02d}" for i in range(owners))
        relay = Relay(names, b"\1" * 32)
        for answered in (0, 3, owners):
            keys = relay.keys({name: owner(name).key for name in names[:answered]})
            assert len(set(keys)) == len(keys) == listed
            assert list(keys) == sorted(keys)


def test_a_hub_without_the_epochs_key_cannot_pose_as_an_owner():
    h = hub(*NAMES, north=bytes(32))
    for _ in range(3):
        last = {name: h.turn(name, name in ("east", "north")) for name in NAMES}
    assert last["east"] == last["north"] == []


def test_altered_letters_open_nothing_and_break_nothing():
    h = hub()
    h.turn("east", True)
    h.sent["east"] = {key: bytes([x[0] ^ 1]) + x[1:] for key, x in h.sent["east"].items()}
    assert h.turn("west", True) == []
    h.sent["east"] = {key: x[:-1] for key, x in h.sent["east"].items()}
    assert h.turn("west", True) == []


def test_an_old_letter_does_not_keep_a_consent_alive():
    h = hub()
    h.turn("east", True)
    assert h.turn("west", False, NOW + MAX_AGE) == [(Word.ASKS, b"")]
    assert h.turn("west", True, NOW + MAX_AGE + 1) == []
    assert h.turn("west", True, NOW - MAX_AGE - 1) == []


def test_letters_cannot_be_sent_back_or_to_somebody_else():
    h = hub()
    h.turn("east", True)
    east, west = h.owners["east"], h.owners["west"]
    letter = h.sent["east"][west.key]
    assert west.read({east.key: letter}, now=NOW)
    assert not east.read({west.key: letter}, now=NOW)
    assert not h.owners["north"].read({east.key: letter}, now=NOW)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(FlakeError, match="key"):
        Correspondent.of(b"short", GROUP, b"f")
    east, north = owner("east"), owner("north")
    asked = north.write([east.key, north.key], {}, lambda _: b"call", now=NOW)
    received = east.read({north.key: asked[east.key]}, now=NOW)
    for contact in (b"", b"x" * (CONTACT_BYTES + 1)):
        with pytest.raises(FlakeError, match="contact"):
            east.write([east.key, north.key], received, lambda _, c=contact: c, now=NOW)
    for keys in ([north.key], [east.key, north.key, north.key], [east.key, b"short"]):
        with pytest.raises(FlakeError, match="list of keys"):
            east.write(keys, {}, None, now=NOW)
    relay = Relay(("east", "north", "south"), bytes(32))
    with pytest.raises(FlakeError, match="no case"):
        relay.keys({"west": east.key})
    with pytest.raises(FlakeError, match="same"):
        relay.keys({"east": east.key, "north": east.key})


def test_a_key_of_low_order_gets_noise_instead_of_a_crash():
    east = owner("east")
    sent = east.write([east.key, bytes(32)], {}, lambda _: b"call", now=NOW)
    assert len(sent[bytes(32)]) == LETTER_LENGTH


def test_secrets_do_not_show_in_a_repr():
    assert repr(GROUP) not in repr(owner("east"))
    h = hub()
    for _ in range(2):
        h.turn("east", True)
        h.turn("west", True)
    (letter,) = h.owners["west"].read(h.passed("west"), now=NOW).values()
    assert letter.contact == b"call east"
    assert "call east" not in repr(letter)
