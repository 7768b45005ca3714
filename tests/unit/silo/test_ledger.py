"""The ledger counts each enrolment once, and keeps what it said through any kill."""

import hashlib
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fedgestalt.silo.ledger import RESERVED_SECONDS, Admission, GrantLedger, LedgerUnreadableError, Usage

NOW = 1_800_000_000.0


def h(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


@pytest.fixture
def ledger(tmp_path: Path) -> GrantLedger:
    return GrantLedger(tmp_path / "agent" / "grants.sqlite")


def test_an_enrolment_is_counted_once(ledger: GrantLedger) -> None:
    ledger.admit("round", h(0), "uid:1", "g", NOW)
    assert [ledger.count(h(1), "round", NOW + i, most=1) for i in range(3)] == [True] * 3
    assert ledger.usages() == {"uid:1": Usage("g", 1, NOW)}


def test_a_second_enrolment_of_a_round_is_a_second_use(ledger: GrantLedger) -> None:
    ledger.admit("round", h(0), "uid:1", "g", NOW)
    assert [ledger.count(h(i), "round", NOW, most=2) for i in (1, 2, 3)] == [True, True, False]


def test_a_round_that_was_not_let_in_is_not_counted(ledger: GrantLedger) -> None:
    assert not ledger.count(h(1), "stranger", NOW, most=None)
    assert ledger.usages() == {}


def test_a_round_that_enrols_holds_its_use_against_others_but_not_against_itself(ledger: GrantLedger) -> None:
    ledger.admit("round", h(0), "uid:1", "g", NOW)
    assert ledger.used("uid:1", NOW) == 1
    assert ledger.used("uid:1", NOW, apart_from="round") == 0
    ledger.count(h(1), "round", NOW, most=1)
    assert ledger.used("uid:1", NOW) == 1


def test_a_use_that_was_held_and_not_needed_is_free_again(ledger: GrantLedger) -> None:
    ledger.admit("first", h(0), "uid:1", "g", NOW)
    ledger.close_round("first")
    assert ledger.used("uid:1", NOW) == 0
    ledger.admit("second", h(0), "uid:1", "g", NOW)
    assert ledger.used("uid:1", NOW + RESERVED_SECONDS + 1) == 0


def test_a_use_that_was_counted_stays_when_its_round_is_over(ledger: GrantLedger) -> None:
    ledger.admit("round", h(0), "uid:1", "g", NOW)
    ledger.count(h(1), "round", NOW, most=1)
    ledger.close_round("round")
    assert (ledger.used("uid:1", NOW), ledger.admission("round")) == (1, None)


def test_a_grant_that_was_created_anew_begins_at_zero(ledger: GrantLedger) -> None:
    ledger.admit("round", h(0), "uid:1", "g", NOW)
    ledger.count(h(1), "round", NOW, most=1)
    assert ledger.used("uid:2", NOW) == 0


def test_rounds_at_the_same_time_do_not_share_the_last_use(ledger: GrantLedger) -> None:
    for i in range(8):
        ledger.admit(
            f"round-{i}", h(0), "uid:1", "g", NOW - RESERVED_SECONDS - 1
        )  # none holds a use any more
    counted: list[bool] = []
    threads = [
        threading.Thread(target=lambda i=i: counted.append(ledger.count(h(i), f"round-{i}", NOW, most=3)))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counted) == [False] * 5 + [True] * 3


def test_what_is_known_of_a_round_outlives_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "grants.sqlite"
    first = GrantLedger(path)
    first.admit("round", h(0), "uid:1", "g", NOW)
    first.count(h(1), "round", NOW, most=None)
    first.close()
    again = GrantLedger(path)
    assert again.admission("round") == Admission("uid:1", "g", h(0))
    assert again.counted_at("round") == NOW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


COUNTING = """
import hashlib, sys
from pathlib import Path
from fedgestalt.silo.ledger import GrantLedger
ledger = GrantLedger(Path(sys.argv[1]))
ledger.admit("round", b"d", "uid:1", "g", 1.0)
for i in range(100_000):
    ledger.count(hashlib.sha256(str(i).encode()).digest(), "round", float(i), most=None)
    print(i, flush=True)
"""


def test_no_count_is_lost_or_doubled_by_a_kill(tmp_path: Path) -> None:
    path, said = tmp_path / "grants.sqlite", 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= said + 5:
                    process.send_signal(signal.SIGKILL)
                    break
            rest = [int(line) for line in process.stdout if line.endswith("\n")]
        said = max([int(line), *rest])
        counted = GrantLedger(path).usages()["uid:1"].used
        assert said + 1 <= counted <= said + 2, (
            "what was said is there, and at most the one that was under way"
        )
        said = counted - 1


def test_a_damaged_ledger_says_which_file_it_is_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "grants.sqlite"
    path.write_bytes(b"no database at all, but long enough to be read as the head of one" * 20)
    ledger = GrantLedger(path)
    with pytest.raises(LedgerUnreadableError, match=r"grants\.sqlite"):
        ledger.used("uid:1", NOW)
    path.unlink()
    assert ledger.used("uid:1", NOW) == 0
