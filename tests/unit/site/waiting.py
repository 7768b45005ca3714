"""Waiting for what another thread brings about."""

import threading
from collections.abc import Callable

from fedgestalt_operator.kube.errors import NotFound


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Return once `true()` holds; an object that is not there yet is no error. Raises AssertionError after `seconds`."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        try:
            if true():
                return
        except NotFound:
            pass
        pause.wait(0.02)
    raise AssertionError("it did not come true")
