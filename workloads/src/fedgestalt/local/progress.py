"""Progress of a local federation on a terminal: one bar per stage of the round, and whose move it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

STAGES: Final = ("Enrolling", "Training", "Encoding", "Matching", "Releasing")


class RoundProgress:
    """Shows ``FederationRound.status`` as it changes. On something that is no terminal: one line per change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[phase]:<10}"),
            BarColumn(bar_width=30),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=1.0, phase="Pending")
        self._last = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, status: Mapping[str, Any]) -> None:
        """Show a status."""
        phase, summary = str(status.get("phase", "Pending")), status.get("summary", {})
        parts = [f"silos {summary.get('silos', '')}", summary.get("progress", ""), summary.get("waiting", "")]
        text = "  ".join(part for part in parts if part)
        self._bar.update(self._task, description=text, phase=phase, completed=overall_fraction(status))
        if not self._console.is_terminal:
            line = f"{phase}: silos {summary.get('silos', '')} {summary.get('progress', '')}"
            if line != self._last:
                self._console.print(line)
                self._last = line


def overall_fraction(status: Mapping[str, Any]) -> float:
    """A rough share of the whole round: training is most of it."""
    phase = str(status.get("phase", "Pending"))
    if phase == "Succeeded":
        return 1.0
    members = status.get("members", [])
    rounds = sum(m.get("rounds", 0) for m in members) or 1
    done = sum(m.get("done", 0) for m in members) / rounds
    begin = {"Enrolling": 0.0, "Training": 0.05, "Encoding": 0.85, "Matching": 0.95, "Releasing": 0.98}
    return begin.get(phase, 0.0) + (0.8 * done if phase == "Training" else 0.0)
