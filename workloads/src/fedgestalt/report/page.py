"""report.html: one file that needs no network, for a geneticist and for the people who run the machines."""

from __future__ import annotations

import base64
import math
from html import escape
from importlib.resources import files

from fedgestalt.evaluation import AVERAGE, KS, ROWS, EvaluationTable
from fedgestalt.report import plots
from fedgestalt.report.content import ARM_TITLES, ratios
from fedgestalt.report.inputs import ReportInput
from fedgestalt.report.sections import accuracy_table, how_computed, leaks, look_alikes, montage, sums_table

# The page's own promise that it loads nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def to_html(result: ReportInput) -> str:
    """Return the whole page."""
    style = files("fedgestalt.report").joinpath("style.css").read_text("utf-8")
    body = "\n".join(
        [
            _header(result),
            _accuracy(result),
            _kept(result),
            _round(result),
            look_alikes(result),
            montage(result),
            leaks(),
            how_computed(result),
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>fedgestalt report: {escape(result.cohort.name)}</title>\n<style>\n{style}</style>\n</head>\n"
        f'<body>\n<div class="notice">Research use only, not a diagnosis.</div>\n{body}\n</body>\n</html>\n'
    )


def headline(result: ReportInput) -> str:
    """Return the result in one or two sentences, with what makes it look better than it is beside it."""
    found, top = ratios(result), 10
    federated = result.arms["federated"].value(AVERAGE, top)
    if "retention" not in found or not math.isfinite(found["retention"].value(AVERAGE, top)):
        return (
            f"Federated training reached {100 * federated:.1f} % macro top-{top} accuracy; "
            "without a centralised baseline nothing can be said of how much it keeps."
        )
    kept, first = found["retention"], found["retention"].value(AVERAGE, 1)
    text = (
        f"Federated training kept {_with_interval(kept, AVERAGE, top)} of the centralised top-{top} accuracy and "
        f"{100 * first:.0f} % of top-1, averaged over the four settings, without a photo leaving its hospital."
    )
    gain = found.get("gain_kept")
    if gain is not None and math.isfinite(gain.value(AVERAGE, top)):
        share = f"{100 * gain.value(AVERAGE, top):.0f} %"
        text += f" Of what training gained over the start in top-{top}, {share} was kept."
    return text


def _with_interval(table: EvaluationTable, row: str, k: int) -> str:
    i, j = ROWS.index(row), KS.index(k)
    low, high = table.lower[i, j], table.upper[i, j]
    text = f"{100 * table.values[i, j]:.0f} %"
    if math.isfinite(low) and math.isfinite(high):
        text += f" (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    return text


def _header(result: ReportInput) -> str:
    cohort = result.cohort
    kind = "synthetic cohort" if cohort.synthetic else "cohort"
    facts = {
        "hospitals": str(len(result.silos)),
        "syndromes trained / rare": f"{cohort.frequent_syndromes} / {cohort.rare_syndromes}",
        "patients": f"{cohort.patients:,}",
        "photos": f"{cohort.photos:,}",
        "wall time": f"{result.wall_seconds / 60:.1f} min",
        "peak memory": f"{result.peak_rss_mib / 1024:.1f} GiB",
    }
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    warning = (
        "<p>All faces here are invented by a program. The figures show that the federation works as it should; "
        "they say nothing about accuracy on patients.</p>"
        if cohort.synthetic
        else ""
    )
    lede = escape(headline(result)).replace(" %", "&#160;%")
    return (
        f"<header>\n<h1>fedgestalt: {escape(kind)} {escape(cohort.name)}, {escape(cohort.split)} split, "
        f"seed {result.seed}</h1>\n"
        f'<p class="lede">{lede}</p>\n{warning}\n<dl class="facts">{cells}</dl>\n</header>'
    )


def _accuracy(result: ReportInput) -> str:
    missing = [title for arm, title in ARM_TITLES.items() if arm not in result.arms]
    note = _missing("Not computed in this run: " + ", ".join(missing) + ".") if missing else ""
    return (
        "<section>\n<h2>Accuracy</h2>\n<p>Macro top-k accuracy: for each syndrome the share of its test photos whose "
        "right syndrome is among the first k candidates, averaged over syndromes. A candidate is as near as "
        "its nearest photo. Rare syndromes were never trained on.</p>\n"
        + note
        + accuracy_table(result)
        + _plot(
            plots.accuracy_bars(result.arms),
            "Bars of macro top-1, 5, 10 and 30 accuracy in four settings, one bar per arm; the table has the figures.",
        )
        + "</section>"
    )


def _kept(result: ReportInput) -> str:
    found = ratios(result)
    head = "<section>\n<h2>How much of the centralised accuracy is kept</h2>\n"
    if not found:
        return head + _missing("Left out: it needs the centralised baseline.") + "</section>"
    note = (
        "<p>Retention alone flatters: a good start already keeps most of the centralised accuracy. The gain kept is "
        "(federated - start) / (centralised - start); where centralised training gained little, it scatters widely.</p>"
    )
    if "gain_kept" not in found:
        note += _missing("Gain kept is left out: it needs the start.")
    alt = "Points with intervals for each setting and k; the figures are in the table of accuracies."
    return head + note + _plot(plots.ratio_points(found), alt) + "</section>"


def _round(result: ReportInput) -> str:
    parts = ["<section>\n<h2>The federation round</h2>"]
    rows = "".join(
        f'<tr><th class="left">{escape(s.name)}</th><td>{s.weight}</td>'
        f'<td class="left">{escape(", ".join(f"{n:,} {role}" for role, n in s.photos.items()))}</td></tr>'
        for s in result.silos
    )
    parts.append(
        '<table><caption>Weights in the average are public.</caption><thead><tr><th class="left">silo</th>'
        f'<th>weight</th><th class="left">photos</th></tr></thead><tbody>{rows}</tbody></table>'
    )
    if result.aggregations:
        names = tuple(s.name for s in result.silos)
        alt = (
            "Dots for each secure aggregation and silo, filled where the sum holds its update; listed below."
        )
        parts.append("<h3>Secure aggregations: whose updates each sum holds (filled), and its model</h3>")
        parts.append(_plot(plots.timeline(names, result.aggregations), alt, small=True))
        parts.append(sums_table(result))
    else:
        parts.append(_missing("No aggregation was recorded for this report."))
    if any(sum(s.bytes_sent.values()) for s in result.silos):
        total = ", ".join(f"{s.name} {sum(s.bytes_sent.values()) / 2**20:.1f} MiB" for s in result.silos)
        parts.append("<h3>What each silo sent</h3>")
        parts.append(_plot(plots.bytes_sent(result), f"Bytes sent per silo: {total}."))
    return "\n".join(parts) + "</section>"


def _missing(text: str) -> str:
    return f'<p class="missing">{escape(text)}</p>\n'


def _plot(svg: str, alt: str, *, small: bool = False) -> str:
    # As an image, so that the identifiers inside two SVGs cannot collide.
    uri = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    kind = "plot small" if small else "plot"
    return f'<figure class="{kind}"><img src="{uri}" alt="{escape(alt)}"/></figure>\n'
