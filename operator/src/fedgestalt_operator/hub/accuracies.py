"""What a Release says of its evaluation: macro averages as text, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..api.release import Accuracy

SETTINGS: Final = ("frequent_frequent", "rare_rare", "frequent_all", "rare_all")
_TOPS: Final = ("top1", "top5", "top10", "top30")


def accuracies(table: Mapping[str, Any]) -> tuple[Accuracy, ...]:
    """The settings of an evaluation table (JSON of `fedgestalt.evaluation`), such as "61.2 % (57.9-64.4)"."""
    return tuple(
        Accuracy(setting, **{top: _text(table[setting], top) for top in _TOPS})
        for setting in SETTINGS
        if setting in table
    )


def _text(row: Mapping[str, Any], top: str) -> str:
    value = row.get(top)
    if value is None:
        return ""
    low, high = row.get("intervals", {}).get(top, (None, None))
    interval = "" if low is None or high is None else f" ({100 * low:.1f}-{100 * high:.1f})"
    return f"{100 * value:.1f} %{interval}"
