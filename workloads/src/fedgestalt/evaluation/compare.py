"""Arms beside each other: how much of the centralised accuracy federation keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.evaluation.protocol import ROWS, EvaluationError
from fedgestalt.evaluation.table import EvaluationTable

ARMS: Final = ("federated", "centralised", "local_only", "start")


def retention(federated: EvaluationTable, centralised: EvaluationTable) -> EvaluationTable:
    """Return federated / centralised per setting and k; the row "average" is the ratio of the averages.

    Intervals compare the arms on the same resampled patients, so that what both owe to the choice of patients
    cancels.
    """
    return _ratio(_same(federated), _same(centralised))


def gain_kept(
    federated: EvaluationTable, start: EvaluationTable, centralised: EvaluationTable
) -> EvaluationTable:
    """Return (federated - start) / (centralised - start): the share of what training gained that is kept.

    A good start alone keeps most of the centralised accuracy, so retention without this says little. Where
    centralised training gained nothing the share does not exist (NaN).
    """
    return _ratio(_minus(federated, start), _minus(centralised, start))


def report_figures(arms: Mapping[str, EvaluationTable]) -> dict[str, Any]:
    """Return the accuracies of a report: by setting and arm, then retention and gain kept by setting.

    Args:
        arms: tables of all of federated, centralised, local_only and start.

    Raises:
        EvaluationError: an arm is missing.
    """
    missing = [arm for arm in ARMS if arm not in arms]
    if missing:
        raise EvaluationError(f"the report needs the arms {', '.join(ARMS)}; missing: {', '.join(missing)}")
    figures: dict[str, Any] = {row: {arm: arms[arm].row_json(row) for arm in ARMS} for row in ROWS}
    figures["retention"] = retention(arms["federated"], arms["centralised"]).to_json()
    figures["gain_kept"] = gain_kept(arms["federated"], arms["start"], arms["centralised"]).to_json()
    return figures


Figures = tuple[NDArray[np.float64], ...]


def _same(table: EvaluationTable) -> Figures:
    return table.values, table.replicates


def _minus(table: EvaluationTable, start: EvaluationTable) -> Figures:
    if table.replicates.shape != start.replicates.shape:
        return table.values - start.values, np.empty((*table.values.shape, 0))
    return table.values - start.values, table.replicates - start.replicates


def _ratio(above: Figures, below: Figures) -> EvaluationTable:
    values = _divide(above[0], below[0])
    paired = above[1].shape == below[1].shape
    replicates = _divide(above[1], below[1]) if paired else np.empty((*values.shape, 0))
    return EvaluationTable.of_replicates(values, replicates)


def _divide(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    quotient = np.full(above.shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0.0)
    return quotient
