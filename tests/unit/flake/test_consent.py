import pytest

from fedgestalt.flake import FlakeError
from fedgestalt.flake.consent import CONTACT_BYTES, CONTACT_LENGTH, PLEDGE_LENGTH, Relay, Voter

GROUP = bytes([9]) * 32
NAMES = ("east", "north", "south", "west", "mid")


def voter(name, agrees, group=GROUP):
    site = name.encode().ljust(32, b"-")
    return Voter.answer(
        site, group, b"finding of " + name[:5].encode(), agrees=agrees, contact=f"call {name}".encode()
    )


def run(voters, owners=None, tamper=None):
    """All three messages through the relay; returns what each opened and all that was passed on."""
    relay = Relay(tuple(owners or voters), b"\1" * 32)
    answers = {name: v.key for name, v in voters.items()}
    keys = relay.keys(answers)
    pledged = {name: v.pledges(keys) for name, v in voters.items()}
    if tamper:
        tamper(pledged, answers)
    pledges = {name: relay.letters(name, answers, pledged, PLEDGE_LENGTH) for name in voters}
    told = {name: v.contacts(keys, pledges[name]) for name, v in voters.items()}
    contacts = {name: relay.letters(name, answers, told, CONTACT_LENGTH) for name in voters}
    opened = {name: v.opened(keys, pledges[name], contacts[name]) for name, v in voters.items()}
    return opened, (keys, pledges, contacts)


def test_those_who_agree_read_each_other_and_nobody_else_reads_anything():
    agree = {"east": True, "north": False, "south": True, "west": True}
    opened, _ = run({name: voter(name, yes) for name, yes in agree.items()})
    assert opened == {
        "east": (b"call south", b"call west"),
        "north": (),
        "south": (b"call east", b"call west"),
        "west": (b"call east", b"call south"),
    }


def test_two_who_agree_are_not_enough():
    opened, _ = run({name: voter(name, name in ("east", "west")) for name in NAMES})
    assert set(opened.values()) == {()}


def test_no_and_yes_and_silence_look_alike_to_the_hub_and_to_the_others():
    everyone = {name: voter(name, True) for name in NAMES[:4]}
    refused = {**everyone, "north": voter("north", False)}
    silent = {name: v for name, v in everyone.items() if name != "north"}
    sizes = set()
    for voters in (everyone, refused, silent):
        _, (keys, pledges, contacts) = run(voters, NAMES[:4])
        shape = (len(keys), *sorted({len(x) for each in pledges.values() for x in each.values()}))
        sizes.add((*shape, *sorted({len(x) for each in contacts.values() for x in each.values()})))
    assert sizes == {(4, PLEDGE_LENGTH, CONTACT_LENGTH)}
    assert everyone["north"].key == refused["north"].key


def test_the_list_of_keys_is_filled_up_to_the_band_of_owners():
    for owners, listed in ((3, 4), (4, 4), (5, 8), (16, 16), (17, 32)):
        names = tuple(f"silo{i:02d}" for i in range(owners))
        relay = Relay(names, b"\1" * 32)
        for answered in (0, 3, owners):
            keys = relay.keys({name: voter(name, True).key for name in names[:answered]})
            assert len(set(keys)) == len(keys) == listed
            assert list(keys) == sorted(keys)


def test_a_contact_goes_only_to_those_whose_pledge_has_come():
    def swallow(pledged, answers):
        del pledged["west"][answers["east"]]

    opened, (_, _, contacts) = run({name: voter(name, True) for name in NAMES}, tamper=swallow)
    assert b"call west" not in opened["east"]
    assert opened["west"] == (b"call mid", b"call north", b"call south")
    assert all(b"call" not in letter for each in contacts.values() for letter in each.values())


def test_a_hub_without_the_epochs_key_cannot_pose_as_owners():
    honest = {"east": voter("east", True), "north": voter("north", False), "south": voter("south", False)}
    forged = {name: voter(name, True, group=bytes(32)) for name in ("north", "south")}
    opened, _ = run({**honest, **forged})
    assert set(opened.values()) == {()}


def test_messages_repeat_byte_for_byte():
    for agrees in (True, False):
        first = run({name: voter(name, agrees) for name in NAMES})
        assert run({name: voter(name, agrees) for name in NAMES}) == first


def test_altered_letters_open_nothing_and_break_nothing():
    def spoil(pledged, answers):
        for letters in pledged.values():
            for key in letters:
                letters[key] = bytes([letters[key][0] ^ 1]) + letters[key][1:]

    opened, _ = run({name: voter(name, True) for name in NAMES}, tamper=spoil)
    assert set(opened.values()) == {()}


def test_what_cannot_be_used_is_refused():
    with pytest.raises(FlakeError, match="contact"):
        Voter.answer(bytes(32), GROUP, b"f", agrees=True, contact=b"x" * (CONTACT_BYTES + 1))
    with pytest.raises(FlakeError, match="contact"):
        Voter.answer(bytes(32), GROUP, b"f", agrees=True, contact=b"")
    with pytest.raises(FlakeError, match="key"):
        Voter.answer(b"short", GROUP, b"f", agrees=False, contact=b"")
    east, north = voter("east", True), voter("north", True)
    for keys in ([north.key], [east.key, north.key, north.key], [east.key, b"short"]):
        with pytest.raises(FlakeError, match="list of keys"):
            east.pledges(keys)
    relay = Relay(("east", "north", "south"), bytes(32))
    with pytest.raises(FlakeError, match="no case"):
        relay.keys({"west": east.key})
    with pytest.raises(FlakeError, match="same"):
        relay.keys({"east": east.key, "north": east.key})


def test_a_key_of_low_order_gets_noise_instead_of_a_crash():
    east = voter("east", True)
    assert len(east.pledges([east.key, bytes(32)])[bytes(32)]) == PLEDGE_LENGTH


def test_secrets_do_not_show_in_a_repr():
    east = voter("east", True)
    assert "call east" not in repr(east)
    assert repr(GROUP) not in repr(east)


def test_nothing_that_an_owner_sends_after_a_no_can_be_opened():
    east, north, south, west = (voter(name, name != "north") for name in NAMES[:4])
    keys = sorted(v.key for v in (east, north, south, west))
    agreed = {v.key: v.pledges(keys)[north.key] for v in (east, south, west)}
    assert east._open(b"pledge", south.key, south.pledges(keys)[east.key]) == b"yes"
    assert east._open(b"pledge", north.key, north.pledges(keys)[east.key]) is None
    assert east._open(b"contact", north.key, north.contacts(keys, agreed)[east.key]) is None
