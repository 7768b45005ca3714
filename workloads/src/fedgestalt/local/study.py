"""Several demonstrations over seeds and splits, pooled: the figures behind a claim, and whether they carry it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from fedgestalt.evaluation import EvaluationTable, pool, report_figures, retention
from fedgestalt.files import write_atomic
from fedgestalt.local.cells import Cell
from fedgestalt.local.demo import ARMS as BASELINES
from fedgestalt.local.demo import Demo, DemoSettings

SHUFFLED: Final = "shuffled"
KEPT_BEYOND_TOP_1: Final = 0.97
KEPT_TOP_1: Final = 0.90
ABOVE_LOCAL_TOP_5: Final = 0.03
NEITHER_TRIVIAL_NOR_BROKEN: Final = (0.35, 0.90)

Report = Callable[[DemoSettings, str, float | None, str], None]


@dataclass(frozen=True)
class Pooled:
    """One cell over all seeds: the mean of each arm, and the control with shuffled labels where it was run."""

    cell: Cell
    seeds: tuple[int, ...]
    arms: dict[str, EvaluationTable]
    shuffled: EvaluationTable | None

    def to_json(self) -> dict[str, Any]:
        """All figures, with retention and gain kept."""
        control = None if self.shuffled is None else self.shuffled.to_json()
        figures = report_figures(self.arms)
        about = {name: value for name, value in asdict(self.cell).items() if value != ""}
        return {**about, "seeds": list(self.seeds), "figures": figures, "shuffled": control}


@dataclass(frozen=True)
class Target:
    """One promise, what was measured, and whether it is met."""

    what: str
    wanted: str
    measured: float
    met: bool


def run_study(
    out: Path,
    *,
    cells: Sequence[Cell],
    seeds: Sequence[int],
    report: Report = lambda *_: None,
) -> list[Pooled]:
    """Run every cell with every seed, as far as not finished, then pool. Interrupted, it goes on with the unfinished one.

    Raises:
        FederationError: a round failed; the message says where its logs are.
    """
    tables: dict[Cell, dict[str, list[EvaluationTable]]] = {cell: {} for cell in cells}
    # Seed by seed over all cells, so that a study cut short has every cell.
    for position, seed in enumerate(seeds):
        for cell in cells:
            settings = DemoSettings(
                tier=cell.tier,
                silos=cell.silos,
                split=cell.split,
                seed=seed,
                strategy=cell.strategy,
                rounds=cell.rounds,
            )
            folder = out / f"{cell.name}-{seed}"

            def told(stage: str, part: float | None, detail: str, settings: DemoSettings = settings) -> None:
                report(settings, stage, part, detail)

            wanted = (*BASELINES, SHUFFLED) if position == 0 else BASELINES
            for arm, table in Demo(folder, settings, told).run(arms=wanted).arms.items():
                tables[cell].setdefault(arm, []).append(table)
    pooled = []
    for cell, found in tables.items():
        means = {arm: pool(several) for arm, several in found.items()}
        control = means.pop(SHUFFLED, None)
        pooled.append(Pooled(cell, tuple(seeds), means, control))
    content = {"synthetic": True, "cells": [p.to_json() for p in pooled]}
    write_atomic(out / "evaluation.json", json.dumps(content, indent=2).encode(), mode=0o644)
    return pooled


def targets(result: Pooled) -> list[Target]:
    """The project's promises for a cell, on the averages over the four settings."""
    kept = retention(result.arms["federated"], result.arms["centralised"])
    found = []
    for k in (5, 10, 30):
        value = kept.value("average", k)
        found.append(
            Target(
                f"top-{k} kept of centralised",
                f">= {KEPT_BEYOND_TOP_1:.0%}",
                value,
                value >= KEPT_BEYOND_TOP_1,
            )
        )
    value = kept.value("average", 1)
    found.append(Target("top-1 kept of centralised", f">= {KEPT_TOP_1:.0%}", value, value >= KEPT_TOP_1))
    above = result.arms["federated"].value("average", 5) - result.arms["local_only"].value("average", 5)
    found.append(
        Target("top-5 above local-only", f">= {ABOVE_LOCAL_TOP_5:.0%}", above, above >= ABOVE_LOCAL_TOP_5)
    )
    low, high = NEITHER_TRIVIAL_NOR_BROKEN
    value = result.arms["centralised"].value("frequent_frequent", 1)
    found.append(
        Target("centralised frequent/frequent top-1", f"{low:.0%} to {high:.0%}", value, low <= value <= high)
    )
    return found
