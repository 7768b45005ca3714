"""The operator's hands on the folder that it shares with the agent: whole files, written where they differ."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fedgestalt.files import write_atomic

from ..plan.endpoint_types import Checked
from ..plan.handover import GRANTS, LEDGER, RELEASES, STATUS, TASKS, Use, uses_of
from .checked import CheckedReleases

log = logging.getLogger(__name__)

Mark = tuple[tuple[str, int, int], ...]
MAX_BYTES: Final = 1 << 20
MODE: Final = 0o640
KEPT_SECONDS: Final = 30 * 86400
"""So long what the agent said of a task is kept once the task is gone: should it come back, it is not done again."""


class Folder:
    """Reads what the agent says and writes what it is to do. Not safe for threads.

    Any method raises OSError where the folder cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._releases = path, CheckedReleases(path)
        for name in (TASKS, GRANTS, STATUS):
            (path / name).mkdir(parents=True, exist_ok=True)

    def mark(self) -> Mark:
        """Changes whenever the agent has written something."""
        found = [*self._files(STATUS), self._path / LEDGER, self._path / RELEASES]
        marks = []
        for path in found:
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            marks.append((path.name, stat.st_mtime_ns, stat.st_ino))
        return tuple(marks)

    def said(self) -> dict[str, Mapping[str, Any]]:
        """What the agent says of tasks, by name; a file that cannot be read says nothing."""
        found: dict[str, Mapping[str, Any]] = {}
        for path in self._files(STATUS):
            try:
                content = _read(path)
            except ValueError as error:
                log.error("%s: cannot be read: %s; restart the agent to have it written anew", path, error)
                continue
            if isinstance(content, dict):
                found[path.stem] = content
        return found

    def uses(self) -> Mapping[str, Use] | None:
        """Uses of grants by their keys; None where nobody knows."""
        try:
            return uses_of(_read(self._path / LEDGER))
        except ValueError as error:
            log.error("%s: %s", self._path / LEDGER, error)
            return None

    def checked(self) -> Mapping[str, Checked] | None:
        """What the agent found of the releases on its disk, by digest; None where it has not said."""
        return self._releases.read()

    def put_tasks(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Let the agent have exactly these tasks."""
        self._put(TASKS, ".json", files)
        self._forget(files.keys())

    def put_grants(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Let the agent have exactly these grants."""
        self._put(GRANTS, ".yaml", files)

    def _put(self, kind: str, suffix: str, files: Mapping[str, Mapping[str, Any]]) -> None:
        folder = self._path / kind
        for name, content in files.items():
            path = folder / f"{name}{suffix}"
            data = json.dumps(content, sort_keys=True, indent=1).encode()  # JSON is YAML
            if not path.exists() or path.read_bytes() != data:
                write_atomic(path, data, mode=MODE)
        for path in self._files(kind, suffix):
            if path.stem not in files:
                path.unlink(missing_ok=True)

    def _forget(self, names: Any) -> None:
        for path in self._files(STATUS):
            if path.stem not in names and path.stat().st_mtime < time.time() - KEPT_SECONDS:
                path.unlink(missing_ok=True)

    def _files(self, kind: str, suffix: str = ".json") -> list[Path]:
        return sorted(p for p in (self._path / kind).glob(f"*{suffix}") if not p.name.startswith("."))


def _read(path: Path) -> Any:
    """The JSON in a file; None if there is none. Raises ValueError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    return json.loads(data)
