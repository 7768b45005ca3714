"""A board that was set back: nothing of the enrolments before is used again, and what guards against two sums stays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fedgestalt.secagg.messages import FaultReason
from fedgestalt.silo.afresh import begin, burn, burnt, unfinished
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.store import DiskStore
from fedgestalt.silo.workplace import Workplace

from .test_leaving import SENDERS, UID, Running, Steward, make, message, site

assert site  # a fixture


class Place:
    """A round's folder and store, as far as burning needs them."""

    def __init__(self, folder: Path) -> None:
        self.uid, self.directory = UID, folder / "work"
        self.store = DiskStore(folder / "state.sqlite")
        for name in ("train", "models", "spool", "matching", "encode", "logs", "base"):
            (self.directory / name).mkdir(parents=True)
            (self.directory / name / "file").write_bytes(b"x")

    def forget(self) -> None:
        self.store.delete(f"secagg/{self.uid}/")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_secrets_vectors_and_models_go_and_the_survivor_sets_stay(place: Place) -> None:
    begin(place.store, 1)
    place.store.put(f"secagg/{UID}/1/root", b"secret")
    place.store.put(f"ledger/{UID}/m0/1", b"survivors")
    burn(cast("Workplace", place))
    assert place.store.get(f"secagg/{UID}/1/root") is None
    assert place.store.get(f"ledger/{UID}/m0/1") == b"survivors"
    assert sorted(path.name for path in place.directory.iterdir()) == ["base", "logs"]


def test_every_attempt_that_this_silo_took_part_in_is_burnt_and_the_next_one_is_not(place: Place) -> None:
    assert burnt(place.store) == 0
    for attempt in (1, 2):
        begin(place.store, attempt)
    burn(cast("Workplace", place))
    assert burnt(place.store) == 2
    assert unfinished(place.store), "a kill may have come in between"
    begin(place.store, 3)
    assert burnt(place.store) == 2
    assert not unfinished(place.store)


def test_a_silo_that_took_part_in_nothing_has_nothing_to_burn(place: Place) -> None:
    burn(cast("Workplace", place))
    assert burnt(place.store) == 0
    assert not unfinished(place.store)


def test_a_board_that_was_set_back_ends_all_work_and_is_never_answered_in_that_enrolment(
    site: SiteConfig,
) -> None:
    running = Running(site)
    begin(running.work._place.store, 1)
    running.hear(message(*SENDERS))
    running.work.rewound("the board ends before what was seen")
    assert [reason for reason, _ in running.part.said] == [FaultReason.BOARD_REWOUND]
    assert running.part.ended
    assert running.trainer.stopped
    heard = len(running.part.heard)
    running.seq = 0  # the board is read anew
    running.hear(message(*SENDERS))
    running.work.on_task("Enrol", "d" * 64, 1)
    running.work.on_task("Train", "d" * 64, 1)
    assert len(running.part.heard) == heard
    assert running.work.task_status("Train", 1)["reason"] == FaultReason.BOARD_REWOUND
    assert running.work.task_status("Enrol", 2)["phase"] == "Running"
    running.work.stop()
    again = make(site, Steward())
    again.on_task("Enrol", "d" * 64, 1)
    assert again._attempt == 1, "after a restart as well: an attempt that is burnt is not begun"
    assert again._part is None
    again.stop()


def test_a_silo_that_saw_nothing_amiss_begins_afresh_when_the_hub_voids_what_stood(
    site: SiteConfig,
) -> None:
    running = Running(site)
    begin(running.work._place.store, 1)
    running.part.session = SimpleNamespace(enrolled=True, verify=lambda _: None, close=lambda: None)
    running.hear(message("void", {"reason": "BoardRewound", "lost": []}))
    assert running.trainer.stopped
    assert running.part.said == []
    assert running.work._part is None
    assert burnt(running.work._place.store) == 1
    running.work.stop()
