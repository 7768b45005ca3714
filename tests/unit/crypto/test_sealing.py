"""Sealed texts open for one key, slot and salt."""

import pytest

from fedgestalt.crypto.errors import SealError
from fedgestalt.crypto.keys import AgreementKey
from fedgestalt.crypto.sealing import OVERHEAD, seal, unseal

KEY = AgreementKey.from_seed(b"\1" * 32)
OTHER = AgreementKey.from_seed(b"\2" * 32)


def sealed(seed=b"\3" * 32):
    return seal(b"text", recipient=KEY.public, slot=b"slot", salt=b"salt", seed=seed)


def test_the_recipient_reads_it():
    assert unseal(sealed(), key=KEY, slot=b"slot", salt=b"salt") == b"text"
    assert len(sealed()) == len(b"text") + OVERHEAD


def test_a_known_answer_pins_the_construction():
    # Computed once by this construction; a change of any of its parts breaks stored and sent texts.
    expected = (
        "5dfedd3b6bd47f6fa28ee15d969d5bb0ea53774d488bdaf9df1c6e0124b3ef22"
        "0df27d21457ab485adc1b8aa4f19dc136bd12380"
    )
    assert sealed().hex() == expected


@pytest.mark.parametrize(
    ("key", "slot", "salt"),
    [(OTHER, b"slot", b"salt"), (KEY, b"Slot", b"salt"), (KEY, b"slot", b"Salt")],
)
def test_another_key_slot_or_salt_does_not_open_it(key, slot, salt):
    with pytest.raises(SealError, match="altered"):
        unseal(sealed(), key=key, slot=slot, salt=salt)


def test_every_altered_byte_is_noticed():
    text = sealed()
    for place in range(len(text)):
        altered = bytearray(text)
        altered[place] ^= 1
        with pytest.raises(SealError):
            unseal(bytes(altered), key=KEY, slot=b"slot", salt=b"salt")
    with pytest.raises(SealError, match="short"):
        unseal(text[: OVERHEAD - 1], key=KEY, slot=b"slot", salt=b"salt")


def test_keys_of_low_order_are_refused_on_both_sides():
    with pytest.raises(SealError, match="low order"):
        seal(b"text", recipient=bytes(32), slot=b"", salt=b"", seed=b"\3" * 32)
    with pytest.raises(SealError, match="low order"):
        unseal(bytes(32) + sealed()[32:], key=KEY, slot=b"slot", salt=b"salt")


def test_other_seeds_give_unrelated_texts():
    assert sealed()[32:] != sealed(b"\4" * 32)[32:]
