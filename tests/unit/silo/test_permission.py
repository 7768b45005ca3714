"""What the agent makes of grants and ledger: who is let in, what is counted, and when a run must stop."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedgestalt.crypto.keys import fingerprint
from fedgestalt.silo.grant import GrantFiles
from fedgestalt.silo.ledger import GrantLedger
from fedgestalt.silo.permission import GRACE_SECONDS, Permission
from fedgestalt_operator.api.reasons import GrantReason

HUB, NORTH, SOUTH, EAST = (bytes([i]) * 32 for i in range(4))
DIGEST, H = b"d" * 32, b"h" * 32


class Site:
    """A site with files, a ledger and clocks that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.grants, self.ledger = folder / "grants", folder / "agent" / "grants.sqlite"
        self.time = 1_800_000_000.0
        self.grants.mkdir()
        self.restart()

    def restart(self) -> None:
        self.permission = Permission(
            GrantFiles(self.grants),
            GrantLedger(self.ledger),
            hub_key=HUB,
            silo="north",
            now=lambda: self.time,
            clock=lambda: self.time,
        )

    def grant(self, name: str = "g", **changes: Any) -> Path:
        spec = {
            "hub": fingerprint(HUB).hex(),
            "operations": ["Train"],
            "purposes": ["DUO:0000006"],
            "dataset": "faces",
            "peers": [fingerprint(key).hex() for key in (SOUTH, EAST)],
            "minSilos": 3,
            "notAfter": "2030-01-01T00:00:00Z",
            **changes,
        }
        head = {"apiVersion": "fedgestalt.org/v1alpha1", "kind": "ParticipationGrant"}
        path = self.grants / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**head, "metadata": {"name": name}, "spec": spec}))
        return path

    def admit(self, uid: str = "round", digest: bytes = DIGEST, **changes: Any) -> list[GrantReason]:
        asked = {
            "operation": "Train",
            "purpose": "DUO:0000006",
            "dataset": "faces",
            "quorum": {"minSilos": 3},
        }
        silos = {"north": NORTH.hex(), "south": SOUTH.hex(), "east": EAST.hex()}
        found = self.permission.admit(uid, digest, {"spec": {**asked, **changes}, "silos": silos})
        return [mismatch.reason for mismatch in found]

    def ended(self, uid: str = "round") -> GrantReason | None:
        mismatch = self.permission.ended(uid)
        return None if mismatch is None else mismatch.reason


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_nothing_is_let_in_without_a_grant(site: Site) -> None:
    assert site.admit() == [GrantReason.NO_GRANT]
    assert not site.permission.admitted("round", DIGEST)


def test_a_round_that_was_let_in_stays_so_over_a_restart_but_another_computation_is_not(site: Site) -> None:
    site.grant(notAfter="2027-01-16T00:00:00Z")
    assert site.admit() == []
    site.time += 86400
    site.restart()
    assert site.permission.admitted("round", DIGEST)
    assert not site.permission.admitted("round", b"x" * 32)
    assert site.admit("later") == [GrantReason.EXPIRED]


def test_uses_are_counted_once_per_enrolment_and_end_the_grant(site: Site) -> None:
    site.grant(uses=2)
    for uid in ("first", "second"):
        assert site.admit(uid) == []
        assert site.permission.count(uid, uid.encode()) is None
        assert site.permission.count(uid, uid.encode()) is None
        site.permission.over(uid)
    assert site.admit("third") == [GrantReason.USES_SPENT]
    assert site.permission.projection()["grants"] == {
        "name:g": {"name": "g", "used": 2, "lastUsed": site.time}
    }


def test_an_enrolment_beyond_the_uses_is_refused_even_though_its_round_was_let_in(site: Site) -> None:
    site.grant(uses=1)
    site.admit()
    assert site.permission.count("round", H) is None
    refused = site.permission.count("round", b"another enrolment")
    assert refused is not None
    assert refused.reason is GrantReason.USES_SPENT


def test_the_second_grant_is_used_when_the_first_one_is_spent(site: Site) -> None:
    site.grant("a", uses=1)
    site.grant("b", uses=1)
    assert [site.admit(uid) for uid in ("one", "two", "three")] == [[], [], [GrantReason.USES_SPENT]]


def test_a_running_round_is_ended_by_its_own_grants_revocation_alone(site: Site) -> None:
    site.grant("a")
    site.grant("b")
    site.admit()
    site.grant("b", revoked=True)
    assert site.ended() is None
    site.grant("a", revoked=True)
    assert site.ended() is GrantReason.REVOKED


def test_a_running_round_outlives_the_end_and_the_uses_of_its_grant(site: Site) -> None:
    site.grant(uses=1, notAfter="2027-01-16T00:00:00Z")
    site.admit()
    site.permission.count("round", H)
    site.time += 86400 * 30
    assert site.ended() is None


def test_a_deleted_grant_ends_a_round_once_it_is_sure_to_be_gone(site: Site) -> None:
    path = site.grant()
    site.admit()
    path.unlink()
    assert site.ended() is None
    site.time += GRACE_SECONDS / 2
    assert site.ended() is None
    site.grant()
    assert site.ended() is None, "an editor had only replaced it"
    path.unlink()
    assert site.ended() is None
    site.time += GRACE_SECONDS
    assert site.ended() is GrantReason.REVOKED


def test_a_round_that_takes_longer_than_granted_is_ended(site: Site) -> None:
    site.grant(bounds={"activeSeconds": 60})
    site.admit()
    site.time += 3600
    assert site.ended() is None, "the clock runs from the enrolment"
    site.permission.count("round", H)
    site.time += 61
    site.restart()
    assert site.ended() is GrantReason.BOUND


def test_nothing_new_runs_while_the_ledger_cannot_be_read(site: Site) -> None:
    site.grant()
    site.ledger.parent.mkdir()
    site.ledger.write_bytes(b"not a database" * 100)
    assert site.admit() == [GrantReason.NO_GRANT]
    assert site.permission.projection() == {"unreadable": True, "grants": {}}
    assert site.permission.count("round", H) is not None
