"""What a Silo's status says, and that it says it without a write too many."""

from __future__ import annotations

from typing import Any

import pytest

from fedgestalt_operator.api.conditions import timestamp
from fedgestalt_operator.api.meta import Metadata
from fedgestalt_operator.api.silo import Silo, SiloIdentity
from fedgestalt_operator.plan.silos import Hearing, silo_status

NOW = 1_790_000_000.0
KEY = SiloIdentity("ab" * 32, NOW + 1000)
WEST = Silo(Metadata("west", "uid", generation=3), True, (KEY,))
HEARD = Hearing(NOW - 5, NOW - 1000, "0.3.1")


def status(silo: Silo = WEST, hearing: Hearing | None = HEARD, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "reachable": True,
        "lets_in": silo.accepted,
        "hub_version": "0.3.0",
        "tasks": 1,
        "now": NOW,
        "old": {},
        **changes,
    }
    return silo_status(silo, hearing, **given)


def conditions(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in document["conditions"]}


def ready(document: dict[str, Any]) -> tuple[str, str]:
    return conditions(document)["Ready"]


def test_a_silo_that_is_accepted_heard_and_compatible_is_ready() -> None:
    document = status()
    assert conditions(document) == {
        "Ready": ("True", "Ready"),
        "Accepted": ("True", "Accepted"),
        "Connected": ("True", "Heard"),
        "Compatible": ("True", "VersionFits"),
    }
    assert (document["version"], document["tasks"], document["observedGeneration"]) == ("0.3.1", 1, 3)


def test_ready_takes_the_reason_of_the_first_thing_that_is_wrong() -> None:
    refused = Silo(WEST.metadata, False, (KEY,))
    expired = Silo(WEST.metadata, True, (SiloIdentity("ab" * 32, NOW - 1),))
    silent = Hearing(NOW - 91, NOW - 1000, "0.3.1")
    other = Hearing(NOW, NOW - 1000, "0.4.0")
    assert ready(status(refused, silent)) == ("False", "NotAccepted")
    assert ready(status(expired)) == ("False", "IdentityExpired")
    assert ready(status(hearing=silent)) == ("False", "LinkLost")
    assert ready(status(hearing=other)) == ("False", "VersionDiffers")
    assert ready(status(hearing=None)) == ("Unknown", "NeverConnected")
    assert ready(status(reachable=False, hearing=None)) == ("Unknown", "ExchangeUnreachable")


def test_a_lost_link_is_dated_by_the_silence_and_not_by_the_moment_it_was_seen() -> None:
    document = status(hearing=Hearing(NOW - 200, NOW - 1000, "0.3.1"))
    found = next(c for c in document["conditions"] if c["type"] == "Ready")
    assert found["lastTransitionTime"] == timestamp(NOW - 200 + 90)


def test_a_silo_is_not_lost_but_never_connected_until_its_first_word_however_long_that_takes() -> None:
    shown = status(hearing=None)
    for since in (NOW - 30, NOW - 91, NOW - 86400):
        shown = status(hearing=Hearing(None, since), old=shown)
        assert ready(shown) == ("Unknown", "NeverConnected")
    first = status(hearing=Hearing(NOW - 5, NOW - 86400), old=shown)
    assert conditions(first)["Connected"] == ("True", "Heard")
    assert conditions(status(hearing=Hearing(NOW - 91, NOW - 86400), old=first))["Connected"][1] == "LinkLost"


@pytest.mark.parametrize("version", ["0.3.1", ""])
def test_an_exchange_that_has_just_started_has_lost_nobody_and_forgotten_nobody(version: str) -> None:
    before = status(hearing=Hearing(NOW - 5, NOW - 1000, version))
    away = status(hearing=None, reachable=False, old=before)
    fresh = status(hearing=Hearing(None, NOW - 30), old=away if version else before)
    assert ready(fresh) == ("Unknown", "NotHeardYet")
    assert ready(status(hearing=Hearing(None, NOW - 91), old=fresh)) == ("False", "LinkLost")
    assert fresh.get("version", "") == version  # what it last reported, by the column's description


def test_heartbeats_alone_change_nothing() -> None:
    first = status()
    later = status(hearing=Hearing(NOW + 55, NOW - 1000, "0.3.1"), now=NOW + 60, old=first)
    assert later == first


def test_a_condition_that_turns_takes_the_new_time_and_the_others_keep_theirs() -> None:
    first = status()
    lost = status(hearing=Hearing(NOW, NOW - 1000, "0.3.1"), now=NOW + 120, old=first)
    back = status(hearing=Hearing(NOW + 299, NOW - 1000, "0.3.1"), now=NOW + 300, old=lost)
    times = {c["type"]: c["lastTransitionTime"] for c in back["conditions"]}
    assert times["Connected"] == times["Ready"] == timestamp(NOW + 300)
    assert times["Accepted"] == timestamp(NOW)


REVOKED = Silo(Metadata("west", "uid", generation=4), False, (KEY,))


@pytest.mark.parametrize("reachable", [True, False])
def test_a_silo_that_is_revoked_and_still_let_in_is_not_shown_as_refused(reachable: bool) -> None:
    document = status(REVOKED, reachable=reachable, lets_in=True, old=status())
    assert conditions(document)["Accepted"] == ("False", "RevocationPending")
    assert ready(document) == ("False", "RevocationPending")


def test_what_the_exchange_was_told_once_is_not_doubted_while_it_is_away() -> None:
    told = status(REVOKED, lets_in=False)
    assert conditions(told)["Accepted"] == ("False", "NotAccepted")
    away = status(REVOKED, None, reachable=False, lets_in=False, old=told)
    assert conditions(away)["Accepted"] == ("False", "NotAccepted")


def test_after_a_restart_without_a_status_nobody_knows_what_the_exchange_was_told() -> None:
    away = status(REVOKED, None, reachable=False, lets_in=False)
    assert conditions(away)["Accepted"] == ("False", "RevocationPending")
