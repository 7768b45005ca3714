"""Writing a report: both files whole, or neither touched by half."""

from __future__ import annotations

import json
from pathlib import Path

from fedgestalt.files import write_atomic
from fedgestalt.report.content import to_json
from fedgestalt.report.inputs import ReportInput
from fedgestalt.report.page import to_html


def write_report(out: Path, result: ReportInput) -> tuple[Path, Path]:
    """Write report.html and report.json into the folder `out`, made if absent, and return their paths.

    Both are complete before either is written; each is replaced by a rename.

    Raises:
        OSError: the folder cannot be written.
        ValueError: a photo that is no RGB picture.
    """
    figures = json.dumps(to_json(result), indent=2, allow_nan=False) + "\n"
    page = to_html(result)
    html_path, json_path = out / "report.html", out / "report.json"
    write_atomic(json_path, figures.encode(), mode=0o644)
    write_atomic(html_path, page.encode(), mode=0o644)
    return html_path, json_path
