"""The secrets of a round that is over go at the agent's next start, whether or not a task names the round again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from fedgestalt.crypto.keys import Identity
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.outbox import Board
from fedgestalt.silo.store import DiskStore
from fedgestalt.silo.vault import EpochVault
from fedgestalt.silo.workplace import Workplace, forget_finished, left_open

OVER, OPEN = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"


def site(folder: Path) -> SiteConfig:
    found: Any = SimpleNamespace(state=folder / "agent", work=folder / "work")
    return cast(SiteConfig, found)


def place(folder: Path, uid: str) -> Workplace:
    (folder / "agent").mkdir(exist_ok=True)
    vault = EpochVault(folder / "agent" / "epochs.sqlite")
    board: Any = SimpleNamespace()
    made = Workplace.open(uid, site(folder), Identity.generate(), cast(Board, board), vault)
    made.store.put(f"secagg/{uid}/1/root", b"secret")
    made.store.put("outbox/what was said", b"stays")
    return made


def test_rounds_that_are_over_lose_their_secrets_and_nothing_else_and_open_ones_keep_theirs(
    tmp_path: Path,
) -> None:
    over = place(tmp_path, OVER)
    over.finish()  # and then the kill came
    place(tmp_path, OPEN)
    for _ in range(2):
        assert forget_finished(site(tmp_path)) == [OVER]
        ended, going = (DiskStore(tmp_path / "agent" / f"{uid}.sqlite") for uid in (OVER, OPEN))
        assert ended.get(f"secagg/{OVER}/1/root") is None
        assert ended.get("outbox/what was said") == b"stays"
        assert going.get(f"secagg/{OPEN}/1/root") == b"secret"


def test_rounds_whose_end_is_not_known_here_are_left_open(tmp_path: Path) -> None:
    place(tmp_path, OVER).finish()
    place(tmp_path, OPEN)
    DiskStore(tmp_path / "agent" / "grants.sqlite").close()
    assert left_open(site(tmp_path)) == [OPEN]
