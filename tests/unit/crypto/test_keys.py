"""Identities, signatures, agreement, derivation, delegation: known answers and refusals."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedgestalt.crypto.delegation import Delegation, DelegationExpiredError
from fedgestalt.crypto.errors import KeyFileError, SignatureError
from fedgestalt.crypto.keys import (
    AgreementKey,
    Identity,
    Purpose,
    SigningKey,
    derive,
    key_id,
    verify_signature,
)


def test_ed25519_matches_rfc_8032_test_2():
    key = SigningKey.from_seed(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = key.sign(b"\x72")
    assert signature.hex().startswith("92a009a9f0d4cab8720e820b5f642540")
    verify_signature(key.public, signature, b"\x72")


def test_x25519_matches_rfc_7748_section_5_2():
    nine = (9).to_bytes(32, "little")
    expected = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert AgreementKey.from_seed(nine).agree(nine).hex() == expected


def test_hkdf_matches_rfc_5869_through_an_independent_computation():
    import hashlib
    import hmac

    secret, salt, info = b"\x0b" * 22, bytes(range(13)), b"fedgestalt/pair/v1extra"
    pseudo_random = hmac.digest(salt, secret, hashlib.sha256)
    expected = hmac.digest(pseudo_random, info + b"\1", hashlib.sha256)
    assert derive(secret, salt=salt, purpose=Purpose.PAIR, extra=b"extra") == expected


def test_purposes_and_salts_give_unrelated_keys():
    keys = {derive(b"s" * 32, salt=salt, purpose=purpose) for purpose in Purpose for salt in (b"a", b"b")}
    assert len(keys) == 2 * len(Purpose)


def test_an_identity_is_saved_privately_and_loaded_again(tmp_path):
    identity = Identity.generate()
    identity.save(tmp_path / "id.pem")
    assert (tmp_path / "id.pem").stat().st_mode & 0o777 == 0o600
    assert Identity.load(tmp_path / "id.pem").public == identity.public
    assert len(key_id(identity.public)) == 8


def test_key_files_that_will_not_do_say_why(tmp_path):
    path = tmp_path / "id.pem"
    with pytest.raises(KeyFileError, match="No such file"):
        Identity.load(path)
    path.write_text("no key")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="PEM"):
        Identity.load(path)
    pem = X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem)
    with pytest.raises(KeyFileError, match="Ed25519"):
        Identity.load(path)
    Identity.generate().save(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Identity.load(path)


def test_signatures_of_other_content_or_keys_are_refused():
    key = SigningKey.generate()
    signature = key.sign(b"a")
    for public, sig, data in (
        (key.public, signature, b"b"),
        (SigningKey.generate().public, signature, b"a"),
        (key.public, signature[:-1], b"a"),
        (key.public[:-1], signature, b"a"),
        (key.public, b"", b"a"),
    ):
        with pytest.raises(SignatureError):
            verify_signature(public, sig, data)


def test_keys_of_low_order_are_refused():
    with pytest.raises(SignatureError, match="low order"):
        AgreementKey.from_seed(b"\1" * 32).agree(bytes(32))


def test_private_keys_do_not_show_themselves():
    seed = b"\x41" * 32
    assert "AAAA" not in repr(SigningKey.from_seed(seed)) + repr(AgreementKey.from_seed(seed))


def test_a_delegation_holds_for_what_it_names_and_until_its_time():
    identity = Identity.generate()
    delegation = Delegation("uid", 1, "aachen", b"\1" * 32, b"\2" * 32, 1000)
    signature = delegation.sign(identity)
    delegation.verify(identity.public, signature, now=1300)
    with pytest.raises(DelegationExpiredError, match="set the clock"):
        delegation.verify(identity.public, signature, now=1301)
    for other in (
        replace(delegation, round="other"),
        replace(delegation, enrolment=2),
        replace(delegation, name="berlin"),
        replace(delegation, signing=b"\3" * 32),
        replace(delegation, sealing=b"\3" * 32),
        replace(delegation, not_after=1001),
    ):
        with pytest.raises(SignatureError):
            other.verify(identity.public, signature, now=0)
    with pytest.raises(SignatureError):
        delegation.verify(Identity.generate().public, signature, now=0)
