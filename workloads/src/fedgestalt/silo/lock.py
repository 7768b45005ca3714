"""One agent per site: two would speak with the same keys, each with half of what was heard."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedgestalt.files import private_directory

WAIT_SECONDS = 30.0
"""For an earlier agent to end, for instance after a restart of whoever runs it."""


class SiteBusyError(Exception):
    """Another agent works on the site; the message names the folder."""


@contextmanager
def site_lock(state: Path, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the site's lock; the system releases it when the process ends, however it ends.

    Args:
        state: folder of the agent's durable state.
        wait: seconds to wait for another holder.

    Raises:
        SiteBusyError: it is still held after ``wait`` seconds.
    """
    until = time.monotonic() + wait
    with (private_directory(state) / "lock").open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise SiteBusyError(
                        f"another agent works on {state.parent}: end it first, a site has one agent"
                    ) from None
                time.sleep(0.1)
        yield
