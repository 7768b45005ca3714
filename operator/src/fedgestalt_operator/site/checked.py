"""What the agent says of the releases on its disk, as the operator reads it from the folder that both see."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..plan.endpoint_types import Checked
from ..plan.handover import RELEASES, checked_of

log = logging.getLogger(__name__)

MAX_BYTES: Final = 1 << 20


class CheckedReleases:
    """Reads `releases.json` of the handover folder. Any method raises OSError where it cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RELEASES

    def mark(self) -> tuple[int, int]:
        """Changes whenever the agent has written the file."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return stat.st_mtime_ns, stat.st_ino

    def read(self) -> Mapping[str, Checked] | None:
        """Releases by digest; None where the agent has not said, or nothing that can be read."""
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        try:
            if len(data) > MAX_BYTES:
                raise ValueError(f"{RELEASES} is larger than {MAX_BYTES} bytes")
            return checked_of(json.loads(data))
        except ValueError as error:
            log.error("%s: %s", self._path, error)
            return None
