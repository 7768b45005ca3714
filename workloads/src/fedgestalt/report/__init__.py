"""The report of a federation round: report.html for people, report.json for programs."""

from fedgestalt.report.inputs import (
    Aggregation,
    CohortFacts,
    LookAlikes,
    Neighbour,
    Photo,
    ReportError,
    ReportInput,
    SiloFacts,
)
from fedgestalt.report.write import write_report

__all__ = [
    "Aggregation",
    "CohortFacts",
    "LookAlikes",
    "Neighbour",
    "Photo",
    "ReportError",
    "ReportInput",
    "SiloFacts",
    "write_report",
]
