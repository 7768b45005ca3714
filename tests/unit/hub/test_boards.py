"""Boards as the hub reads them: nothing is lost to a download that fails."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.errors import UnreachableError
from fedgestalt.exchange.listing import Entry, Listing
from fedgestalt.secagg.messages import HUB, Kind, Slot, sign
from fedgestalt_operator.api.reasons import GrantReason
from fedgestalt_operator.hub import exchange as real
from fedgestalt_operator.hub.boards import Boards
from fedgestalt_operator.plan.types import TaskState

UID = "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f"
BLOB = json.dumps({"silos": {"west": "ab"}}).encode()
DIGEST = hashlib.sha256(BLOB).digest()


class Client:
    """A board of a computation and a suspension; downloads fail as often as is asked."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.forgotten: list[str] = []
        key = Identity.generate()
        first = sign(Slot(UID, 0, "", 0, 0, Kind.COMPUTATION, HUB), {"digest": DIGEST}, [DIGEST.hex()], key)
        second = sign(Slot(UID, 1, "Suspended", 1, 0, Kind.STAGE, HUB), {}, [], key)
        self.entries = [Entry(i + 1, 1000 * i, m.encode(), True) for i, m in enumerate((first, second))]

    def listing(self, uid: str, *, after: int, since: int | None, wait: float) -> Listing:
        fresh = tuple(self.entries[after:])
        return Listing(fresh, (), len(self.entries), len(self.entries))

    def forget(self, uid: str) -> None:
        self.forgotten.append(uid)

    def download(self, uid: str, digest: str) -> bytes:
        if self.failures:
            self.failures -= 1
            raise UnreachableError("cut")
        return BLOB


def test_a_download_that_fails_loses_no_entry_and_is_tried_again() -> None:
    boards = Boards(Client(2))  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(UnreachableError):
            boards.read(UID)
    board = boards.read(UID)
    assert [e.kind for e in board.entries] == ["computation", "stage"]
    assert [e.seq for e in board.entries] == [1, 2]
    assert board.computation == json.loads(BLOB)


def test_a_board_that_is_gone_is_forgotten_by_the_client_too() -> None:
    client = Client(0)
    boards = Boards(client)  # type: ignore[arg-type]
    boards.read(UID)
    boards.forget(UID)
    assert client.forgotten == [UID]
    assert boards.known(UID) is None


@pytest.mark.parametrize(
    "report",
    [{"phase": "Paused"}, {"phase": None}, {"fraction": None}, {"fraction": "many"}, {"fraction": []}],
)
def test_a_sites_report_that_makes_no_sense_stops_nobody(report: dict[str, Any]) -> None:
    assert real._state(report).reason == "StatusInvalid"


def test_a_sites_report_is_cut_to_what_a_status_may_hold() -> None:
    state = real._state({"phase": "Failed", "fraction": 7, "reason": "R" * 900, "message": "m" * 9000})
    assert (state.fraction, len(state.reason), len(state.message)) == (0.0, 64, 1024)
    assert real._state({"fraction": "nan"}).fraction == 0.0
    strange = {
        "phase": "Failed",
        "causes": ["PeerNotGranted", "a path of the site", 7, ["NoGrant"], "PeerNotGranted"],
    }
    assert real._state(strange).causes == (GrantReason.PEER,)
    assert real._state({"causes": "PeerNotGranted"}).causes == ()
    assert isinstance(real._state({}), TaskState)
