"""The table that a run prints."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Table

from fedgestalt.evaluation.compare import ARMS, gain_kept, retention
from fedgestalt.evaluation.protocol import KS, ROWS
from fedgestalt.evaluation.table import EvaluationTable


def accuracy_table(arms: Mapping[str, EvaluationTable], title: str | None = None) -> Table:
    """Return the accuracies in per cent: a block per setting, a row per arm, intervals beside the figures.

    Under the arms stand how much of the centralised accuracy the federation keeps and how much of what
    training gained over the start. Arms that are not given are left out.
    """
    table = Table(title=title, caption="macro top-k accuracy in %, 95 % interval over patients")
    table.add_column("setting")
    table.add_column("arm")
    for k in KS:
        table.add_column(f"top-{k}", justify="right", no_wrap=True)
    ratios: dict[str, EvaluationTable] = {}
    if {"federated", "centralised"} <= set(arms):
        ratios["retention"] = retention(arms["federated"], arms["centralised"])
        if "start" in arms:
            ratios["gain kept"] = gain_kept(arms["federated"], arms["start"], arms["centralised"])
    for row in ROWS:
        lines = [(arm.replace("_", "-"), arms[arm], "") for arm in ARMS if arm in arms]
        lines += [(name, ratio, "italic") for name, ratio in ratios.items()]
        for i, (name, figures, style) in enumerate(lines):
            cells = [_cell(figures, row, k) for k in KS]
            heading = row.replace("_", " / ") if i == 0 else ""
            table.add_row(heading, name, *cells, style=style, end_section=i == len(lines) - 1)
    return table


def _cell(figures: EvaluationTable, row: str, k: int) -> str:
    i, j = ROWS.index(row), KS.index(k)
    value, low, high = figures.values[i, j], figures.lower[i, j], figures.upper[i, j]
    if not math.isfinite(value):
        return "-"
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} [{100 * low:.0f}, {100 * high:.0f}]"
