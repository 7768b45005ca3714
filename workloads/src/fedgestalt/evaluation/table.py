"""Top-k accuracies of one arm with their intervals, from summed contributions to JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fedgestalt.evaluation.layout import Layout
from fedgestalt.evaluation.protocol import KS, ROWS, SETTINGS, TOP_NAMES, EvaluationError

#: Percentiles of the 95 % interval.
INTERVAL: Final = (2.5, 97.5)
_SHAPE: Final = (len(ROWS), len(KS))


@dataclass(frozen=True)
class EvaluationTable:
    """Figures by setting (the four, then their average) and k, and their 95 % percentile intervals.

    The same form holds accuracies (fractions 0 to 1) and ratios of them (`compare.retention`). NaN stands for
    a figure that does not exist: a setting without tests, a ratio over zero, an interval without replicates.

    Attributes:
        values, lower, upper: float64 [5, 4], rows as `protocol.ROWS`, columns as `protocol.KS`.
        replicates: the figure in each bootstrap replicate, float64 [5, 4, R]. Tables whose patients have the
            same weights (same seed, same patients) can be compared replicate by replicate. Not in the JSON.
    """

    values: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    replicates: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of_replicates(cls, values: NDArray[np.float64], replicates: NDArray[np.float64]) -> Self:
        """Make a table from values [5, 4] and replicates [5, 4, R]."""
        lower, upper = np.full(_SHAPE, np.nan), np.full(_SHAPE, np.nan)
        if replicates.shape[-1]:
            # A ratio that often does not exist has no honest interval: the rest would be a selection.
            there = np.isfinite(replicates).mean(axis=-1) >= 0.95
            if there.any():
                lower[there], upper[there] = np.nanpercentile(replicates[there], INTERVAL, axis=-1)
        return cls(values, lower, upper, replicates)

    def value(self, row: str, k: int) -> float:
        """Return one figure, for example `value("rare_all", 10)`."""
        return float(self.values[ROWS.index(row), KS.index(k)])

    def row_json(self, row: str) -> dict[str, Any]:
        """Return one row as {"top1": x, ..., "intervals": {"top1": [low, high], ...}}; null for no figure."""
        i = ROWS.index(row)
        figures: dict[str, Any] = {name: _number(self.values[i, j]) for j, name in enumerate(TOP_NAMES)}
        figures["intervals"] = {
            name: [_number(self.lower[i, j]), _number(self.upper[i, j])] for j, name in enumerate(TOP_NAMES)
        }
        return figures

    def to_json(self) -> dict[str, Any]:
        """Return all rows by name, each as `row_json`."""
        return {row: self.row_json(row) for row in ROWS}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; the replicates are not in it.

        Raises:
            EvaluationError: content of another form.
        """
        values, lower, upper = (np.full(_SHAPE, np.nan) for _ in range(3))
        for i, row in enumerate(ROWS):
            for j, name in enumerate(TOP_NAMES):
                try:
                    low, high = content[row]["intervals"][name]
                    found = [content[row][name], low, high]
                    figures = [math.nan if x is None else float(x) for x in found]
                except (KeyError, TypeError, ValueError) as error:
                    raise EvaluationError(
                        f"evaluation table: {row}, {name}: no figure with interval"
                    ) from error
                values[i, j], lower[i, j], upper[i, j] = figures
        return cls(values, lower, upper, np.empty((*_SHAPE, 0)))


def summarise(vector: NDArray[np.uint32], layout: Layout) -> EvaluationTable:
    """Turn summed contributions into macro top-k accuracies with 95 % intervals.

    A syndrome counts in a split where it has a test (in a replicate: a test of positive weight).

    Raises:
        EvaluationError: a vector that does not fit the layout, or with more hits than tests, as an incomplete
            or altered sum has.
    """
    views = layout.views(vector)
    figures = np.full((len(ROWS), len(KS), layout.replicates + 1), np.nan)
    for i, setting in enumerate(SETTINGS):
        hits = views[setting.name]
        counts = views[f"counts_{setting.tests}"][: hits.shape[1]]
        if np.any(hits > counts):
            raise EvaluationError(
                f"{setting.name}: more hits than tests; the sum is not of whole contributions"
            )
        recall = np.full(hits.shape, np.nan)
        np.divide(hits, counts, out=recall, where=counts > 0)
        figures[i] = _mean(_mean(recall, axis=2), axis=1)
    figures[-1] = figures[:-1].mean(axis=0)  # NaN where a setting is missing: an average of fewer misleads
    return EvaluationTable.of_replicates(figures[..., 0], figures[..., 1:])


def pool(tables: Sequence[EvaluationTable]) -> EvaluationTable:
    """Return the mean over tables: over the silos of local-only, or over seeds.

    Intervals are percentiles of the mean taken replicate by replicate where all tables have equally many
    replicates; otherwise there are none. They speak of the choice of patients, not of the spread over seeds.

    Raises:
        EvaluationError: no table.
    """
    if not tables:
        raise EvaluationError("no table to take the mean of")
    values = np.mean([table.values for table in tables], axis=0)
    if len({table.replicates.shape for table in tables}) == 1:
        replicates = np.mean([table.replicates for table in tables], axis=0)
    else:
        replicates = np.empty((*_SHAPE, 0))
    return EvaluationTable.of_replicates(values, replicates)


def _mean(figures: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the mean over an axis of what is there, NaN where nothing is."""
    there = np.isfinite(figures)
    count = there.sum(axis=axis)
    total = np.where(there, figures, 0.0).sum(axis=axis)
    mean = np.full(count.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _number(figure: float) -> float | None:
    return float(figure) if math.isfinite(figure) else None
