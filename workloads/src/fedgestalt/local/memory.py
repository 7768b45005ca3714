"""The resident memory of a tree of processes, sampled."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def tree_rss_mib(root: int | None = None) -> float:
    """The sum of the resident sets of ``root`` and all its descendants, in MiB.

    Pages that processes share are counted once for each of them, so this is an upper bound. 0 where /proc is absent.
    """
    root = os.getpid() if root is None else root
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    page = os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
            resident[int(entry.name)] = int((entry / "statm").read_text().split()[1]) * page
        except (OSError, IndexError, ValueError):
            continue  # it ended meanwhile
        parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
    total, todo = 0, [root]
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    while todo:
        pid = todo.pop()
        total += resident.get(pid, 0)
        todo.extend(children.get(pid, ()))
    return total / 2**20


class PeakMemory:
    """Samples ``tree_rss_mib`` in the background; use as a context manager, read ``.peak_mib`` after."""

    def __init__(self, interval: float = 1.0) -> None:
        self.peak_mib = 0.0
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)

    def _sample(self) -> None:
        while not self._stop.is_set():
            self.peak_mib = max(self.peak_mib, tree_rss_mib())
            self._stop.wait(self._interval)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
