"""The registry: several identities while one replaces another, and an operator in another pod that writes it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.errors import Code, RefusedError, RevokedError
from fedgestalt.exchange.registry import (
    RegisteredIdentity,
    RegisteredSilo,
    Registry,
    parse_registry,
    write_registry,
)
from fedgestalt.exchange.tokens import KeyCredential, Role

from .conftest import NAMES, ROUND, Federation

OLD, NEW = bytes(32), bytes([1]) * 32


def registered(
    federation: Federation, *, without: str = "", **changed: RegisteredSilo
) -> dict[str, RegisteredSilo]:
    silos = {name: RegisteredSilo(key.public) for name, key in federation.silos.items() if name != without}
    return silos | changed


def with_key(federation: Federation, key: Identity) -> BoardClient:
    return federation.client("west", credential=KeyCredential(key, Role.SILO, "west", federation.hub.public))


def test_of_several_identities_those_that_are_valid_count_and_the_lasting_one_first() -> None:
    silo = RegisteredSilo(identities=(RegisteredIdentity(OLD, 100.0), RegisteredIdentity(NEW, 200.0)))
    assert silo.valid(50.0) == (NEW, OLD)
    assert silo.valid(150.0) == (NEW,)
    assert silo.valid(250.0) == ()
    assert RegisteredSilo(OLD).valid(1e12) == (OLD,)
    assert RegisteredSilo(OLD, not_after=9.0).valid(10.0) == ()


def test_what_is_written_is_read_and_the_form_with_one_identity_too(tmp_path: Path) -> None:
    silos = {
        "west": RegisteredSilo(identities=(RegisteredIdentity(OLD, 100.0), RegisteredIdentity(NEW))),
        "east": RegisteredSilo(OLD, accepted=False),
    }
    write_registry(tmp_path / "silos.json", silos)
    assert Registry(tmp_path / "silos.json").silos() == silos
    short = {"silos": {"west": {"identity": OLD.hex(), "accepted": True, "notAfter": 7}}}
    assert parse_registry(short) == {"west": RegisteredSilo(OLD, not_after=7.0)}


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ([], "silos must"),
        ({"silos": []}, "silos must"),
        ({"silos": {"We st": {"identity": "00" * 32}}}, "silos.We st"),
        ({"silos": {"west": 1}}, "silos.west"),
        ({"silos": {"west": {"identity": "00"}}}, "silos.west.identities"),
        ({"silos": {"west": {"identities": []}}}, "silos.west.identities"),
        ({"silos": {"west": {"identities": [{"key": "00" * 32, "notAfter": "2027"}]}}}, "notAfter"),
        ({"silos": {"west": {"identities": [{"key": "00" * 32, "notAfter": float("nan")}]}}}, "notAfter"),
        ({"silos": {"west": {"identity": "00" * 32, "accepted": 1}}}, "silos.west.accepted"),
    ],
)
def test_a_wrong_entry_is_named(document: object, where: str) -> None:
    with pytest.raises(ValueError, match=where.replace(".", r"\.")):
        parse_registry(document)


def test_the_hub_replaces_the_registry_and_reads_it_back(federation: Federation) -> None:
    hub, west = federation.client("hub"), federation.client("west")
    assert hub.registry() == registered(federation)
    newcomer = Identity.generate()
    silos = registered(federation, without="east", south=RegisteredSilo(newcomer.public, not_after=4e9))
    hub.put_registry(silos)
    assert hub.registry() == silos
    assert {silo.name for silo in hub.silos()} == {"north", "west", "south"}
    credential = KeyCredential(newcomer, Role.SILO, "south", federation.hub.public)
    assert federation.client("north", credential=credential).tasks() == ([], 0)
    with pytest.raises(RefusedError) as refusal:
        federation.client("east").tasks()
    assert refusal.value.code is Code.UNAUTHENTICATED
    for call in (west.registry, lambda: west.put_registry(silos)):
        with pytest.raises(RefusedError) as refusal:
            call()
        assert refusal.value.code is Code.FORBIDDEN


def test_a_registry_with_an_error_leaves_the_old_one(federation: Federation) -> None:
    hub = federation.client("hub")
    with pytest.raises(RefusedError, match=r"silos\.west") as refusal:
        hub._transport.request("PUT", "/registry", json={"silos": {"west": {"identity": "00"}}})
    assert refusal.value.code is Code.INVALID
    assert hub.registry() == registered(federation)


def test_a_registry_that_was_lost_is_given_again_by_the_hub(federation: Federation) -> None:
    federation.registry.unlink()
    hub = federation.client("hub", deadline=0.5)
    with pytest.raises(RefusedError) as refusal:
        federation.client("west", deadline=0.5).tasks()
    assert refusal.value.code is Code.REGISTRY_UNREADABLE
    hub.put_registry(registered(federation))
    assert federation.client("west").tasks() == ([], 0)
    assert json.loads(federation.registry.read_text())["silos"].keys() == set(NAMES)


def test_a_silo_that_is_revoked_during_a_long_poll_learns_nothing_new(enrolled: Federation) -> None:
    hub, west = enrolled.client("hub"), enrolled.client("west")
    west.entries(ROUND, 0)
    outcomes: list[object] = []

    def poll(call: object) -> None:
        try:
            outcomes.append(call())  # type: ignore[operator]
        except RevokedError as error:
            outcomes.append(error)

    calls = (
        lambda: west.entries(ROUND, 4, wait=20),
        lambda: west.tasks(20),
        lambda: west.releases(20),
    )
    threads = [threading.Thread(target=poll, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    hub.put_registry(registered(enrolled, west=RegisteredSilo(enrolled.silos["west"].public, accepted=False)))
    # Only now is there something to learn.
    enrolled.client("east").post(enrolled.endorse("east"))
    hub.put_task("west", "secret", {})
    hub.put_release("secret", {"silos": ["west"]})
    for thread in threads:
        thread.join(15)
    assert [type(outcome) for outcome in outcomes] == [RevokedError] * 3
    with pytest.raises(RevokedError):
        west.heartbeat()


def test_while_an_identity_is_replaced_both_speak_and_then_the_old_one_does_not(
    federation: Federation,
) -> None:
    hub, old, new = federation.client("hub"), federation.silos["west"], Identity.generate()
    federation.open_round()
    now = time.time()

    def register(*identities: RegisteredIdentity) -> None:
        hub.put_registry(registered(federation, west=RegisteredSilo(identities=identities)))

    register(RegisteredIdentity(old.public, now + 900), RegisteredIdentity(new.public, now + 9000))
    # The round was frozen with the old identity: it is the old one that signs the enrolment, whoever asks.
    with_key(federation, new).post(federation.enrol_message("west").encode())
    with pytest.raises(RefusedError) as refusal:
        with_key(federation, new).post(federation.enrol_message("west", signer=new, enrolment=2).encode())
    assert refusal.value.code is Code.SIGNATURE_INVALID
    assert len(with_key(federation, old).entries(ROUND, 0)) == 2
    assert with_key(federation, new).tasks() == ([], 0)
    with pytest.raises(RefusedError) as refusal:
        with_key(federation, Identity.generate()).tasks()
    assert refusal.value.code is Code.UNAUTHENTICATED

    register(RegisteredIdentity(old.public, now - 1), RegisteredIdentity(new.public, now + 9000))
    with pytest.raises(RefusedError) as refusal:
        with_key(federation, old).tasks()
    assert refusal.value.code is Code.UNAUTHENTICATED
    assert with_key(federation, new).tasks() == ([], 0)
    with pytest.raises(RefusedError) as refusal:
        with_key(federation, new).entries(ROUND, 0)
    assert refusal.value.code is Code.NOT_IN_ROUND

    register(RegisteredIdentity(new.public, now - 1))
    with pytest.raises(RevokedError, match="notAfter"):
        with_key(federation, new).tasks()
