"""A site has one agent at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedgestalt.silo.lock import SiteBusyError, site_lock

HOLDER = """
import sys, time
from pathlib import Path
from fedgestalt.silo.lock import site_lock
with site_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_agent_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SiteBusyError, match="one agent"), site_lock(tmp_path, wait=0.3):
            pass
    finally:
        holder.kill()
        holder.wait()
    with site_lock(tmp_path, wait=5.0):
        pass  # a killed holder leaves nothing behind
    with site_lock(tmp_path, wait=0.0):
        pass
