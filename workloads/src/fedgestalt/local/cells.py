"""A plan of evaluation cells: which federations to compare, read strictly from YAML.

tier: demo
seeds: [1, 2, 3]
cells:
  - {split: near-uniform, silos: 4}
  - {split: "dirichlet:0.3", silos: 8, strategy: FedProx}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from fedgestalt.data.partition import Split, silo_names
from fedgestalt.data.tiers import TIERS
from fedgestalt.local.document import ROUNDS

STRATEGIES: Final = ("FedAvg", "FedProx", "FedAvgM", "FedAdam")
MOST_ROUNDS: Final = 1000
_MOST_CELLS: Final = 256
_CELL_FIELDS: Final = ("split", "silos", "strategy", "rounds")


class PlanError(Exception):
    """The plan file cannot be used; the message names file, field and mend."""


@dataclass(frozen=True)
class Cell:
    """One federation to evaluate, pooled over seeds. An empty ``strategy`` is the demonstration's own."""

    split: str
    silos: int = 4
    tier: str = "demo"
    strategy: str = ""
    rounds: int = ROUNDS

    @property
    def name(self) -> str:
        """For folders and headings: what differs from the demonstration."""
        parts = [self.split.replace(":", "-")]
        if self.silos != 4:
            parts.append(f"{self.silos}-silos")
        if self.strategy:
            parts.append(self.strategy.lower())
        if self.rounds != ROUNDS:
            parts.append(f"{self.rounds}-rounds")
        return "-".join(parts)


@dataclass(frozen=True)
class EvaluationPlan:
    """Cells and the seeds that each is run with."""

    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]


def load_plan(path: Path) -> EvaluationPlan:
    """Read a plan.

    Raises:
        PlanError: unreadable, or a field is unknown, missing or out of range; all findings are listed.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise PlanError(f"{path}: not YAML ({error})") from error
    if not isinstance(content, Mapping):
        raise PlanError(f"{path}: expected a map with tier, seeds and cells")
    problems = [f"{field}: unknown" for field in content if field not in ("tier", "seeds", "cells")]
    tier, seeds, listed = content.get("tier", "demo"), content.get("seeds", [1, 2, 3]), content.get("cells")
    if tier not in TIERS:
        problems.append(f"tier: {tier!r} is none of {', '.join(TIERS)}")
    if not _numbers(seeds):
        problems.append("seeds: expected a list of whole numbers from 0, none twice")
    cells: list[Cell] = []
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_CELLS:
        problems.append(f"cells: expected a list of 1 to {_MOST_CELLS}")
    else:
        for i, item in enumerate(listed):
            found = _cell_problems(item)
            problems += [f"cells[{i}].{problem}" for problem in found]
            if not found:
                chosen = {name: item[name] for name in ("silos", "strategy", "rounds") if name in item}
                cells.append(Cell(item["split"], tier=str(tier), **chosen))
        names = [cell.name for cell in cells]
        problems += [f"cells: {name} is listed twice" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise PlanError(f"{path}: {'; '.join(problems)}")
    return EvaluationPlan(tuple(cells), tuple(seeds))


def _numbers(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(type(n) is int and n >= 0 for n in value)
        and len(set(value)) == len(value)
    )


def _cell_problems(item: Any) -> list[str]:
    if not isinstance(item, Mapping) or "split" not in item:
        return ["split: missing; write near-uniform, non-overlapping or dirichlet:A"]
    problems = [f"{field}: unknown" for field in item if field not in _CELL_FIELDS]
    rounds = item.get("rounds", ROUNDS)
    if type(rounds) is not int or not 1 <= rounds <= MOST_ROUNDS:
        problems.append(f"rounds: expected a whole number from 1 to {MOST_ROUNDS}")
    try:
        Split.parse(str(item["split"]))
    except ValueError as error:
        problems.append(f"split: {error}")
    try:
        silo_names(item.get("silos", 4))
    except (ValueError, TypeError) as error:
        problems.append(f"silos: {error}")
    if item.get("strategy", "") not in ("", *STRATEGIES):
        problems.append(f"strategy: {item['strategy']!r} is none of {', '.join(STRATEGIES)}")
    return problems
