"""report.json: the figures of a report for programs (docs/reference/report.schema.json)."""

from __future__ import annotations

from typing import Any, Final

from fedgestalt.evaluation import ARMS, ROWS, SETTING_NAMES, EvaluationTable, gain_kept, retention
from fedgestalt.report.inputs import ReportInput

SCHEMA_VERSION: Final = "1"


def ratios(result: ReportInput) -> dict[str, EvaluationTable]:
    """Return the tables "retention" and "gain_kept" as far as their arms are there."""
    found: dict[str, EvaluationTable] = {}
    arms = result.arms
    if "centralised" in arms:
        found["retention"] = retention(arms["federated"], arms["centralised"])
        if "start" in arms:
            found["gain_kept"] = gain_kept(arms["federated"], arms["start"], arms["centralised"])
    return found


def to_json(result: ReportInput) -> dict[str, Any]:
    """Return the content of report.json: accuracies as fractions 0 to 1; null for an arm that was not computed.

    No photo and no handle is in it.
    """
    content: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "research_use_only": True}
    for row in ROWS:
        content[row] = {arm: result.arms[arm].row_json(row) if arm in result.arms else None for arm in ARMS}
    found = ratios(result)
    for name in ("retention", "gain_kept"):
        content[name] = found[name].to_json() if name in found else None
    cohort = result.cohort
    content |= {
        "wall_seconds": result.wall_seconds,
        "stage_seconds": dict(result.stage_seconds),
        "peak_rss_mib": result.peak_rss_mib,
        "model_sha256": result.model_sha256,
        "seed": result.seed,
        "created": result.created.isoformat(),
        "cohort": {
            "name": cohort.name,
            "synthetic": cohort.synthetic,
            "split": cohort.split,
            "frequent_syndromes": cohort.frequent_syndromes,
            "rare_syndromes": cohort.rare_syndromes,
            "patients": cohort.patients,
            "photos": cohort.photos,
        },
        "silos": {
            silo.name: {
                "weight": silo.weight,
                "photos": dict(silo.photos),
                "bytes_sent": dict(silo.bytes_sent),
            }
            for silo in result.silos
        },
        "aggregations": [
            {
                "member": a.member,
                "t": a.t,
                "survivors": list(a.survivors),
                "model_sha256": a.model_sha256,
                "tries": a.tries,
            }
            for a in result.aggregations
        ],
        "versions": dict(result.versions),
        "commands": list(result.commands),
    }
    return content


#: Settings in the words of the protocol, for people.
SETTING_TITLES: Final = dict(
    zip(
        (*SETTING_NAMES, "average"),
        (
            "Frequent among frequent",
            "Rare among rare",
            "Frequent among all",
            "Rare among all",
            "Average of the four",
        ),
        strict=True,
    )
)
ARM_TITLES: Final = {
    "federated": "Federated",
    "centralised": "Centralised",
    "local_only": "Local only",
    "start": "Start, untrained on this cohort",
}
