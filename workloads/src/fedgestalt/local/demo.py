"""The demonstration: synthetic hospitals, one round, the baselines on the same lists, a report.

Each stage leaves a file that says it is done, so that an interrupted demonstration goes on with ``--resume``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedgestalt.files import write_atomic


@dataclass(frozen=True)
class DemoSettings:
    """What the demonstration was asked for; another setting in the same folder is refused."""

    tier: str = "demo"
    silos: int = 4
    split: str = "near-uniform"
    seed: int = 0
    workers: int = 0
    data: str = ""
    communication_rounds: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Canonical form, for comparison with what a folder holds."""
        return dict(sorted(self.__dict__.items()))


@dataclass
class Stages:
    """Durations of the stages in seconds, kept in ``stages.json``."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Stages:
        """What earlier runs in this folder measured."""
        return cls(path, json.loads(path.read_text()) if path.exists() else {})

    def done(self, name: str, seconds: float) -> None:
        """Note that a stage took ``seconds``."""
        self.seconds[name] = round(seconds, 1)
        write_atomic(self.path, json.dumps(self.seconds, indent=2).encode(), mode=0o644)


def vocabulary_bytes(trained: Sequence[str], rare: Sequence[str]) -> bytes:
    """The vocabulary of a round as canonical JSON."""
    content = {"trained": sorted(trained), "rare": sorted(rare)}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
