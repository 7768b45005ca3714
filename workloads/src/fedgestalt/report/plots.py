"""The plots of a report as SVG text, drawn without any display."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fedgestalt.evaluation import ARMS, KS, ROWS, SETTING_NAMES, EvaluationTable
from fedgestalt.report.content import ARM_TITLES, SETTING_TITLES
from fedgestalt.report.inputs import Aggregation, ReportInput

# Okabe and Ito's palette: told apart by colour-blind readers, and by hatch in grey print.
_COLOURS: Final = {
    "federated": "#0072B2",
    "centralised": "#56636E",
    "local_only": "#E69F00",
    "start": "#D3D8DC",
}
_HATCH: Final = {"federated": "", "centralised": "", "local_only": "//", "start": ".."}
_MARKS: Final = ("o", "s", "D", "^")
_KIND_COLOURS: Final = ("#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56636E")
_STYLE: Final[Any] = {  # matplotlib types its keys as one huge literal
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a949c",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "fedgestalt",
    "svg.fonttype": "path",
}


def accuracy_bars(arms: Mapping[str, EvaluationTable]) -> str:
    """Return grouped bars of every setting, k and arm with 95 % intervals."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 5.8), layout="constrained")
        axes = figure.subplots(2, 2, sharey=True)
        present = [arm for arm in ARMS if arm in arms]
        width = 0.82 / len(present)
        for axis, setting in zip(axes.flat, SETTING_NAMES, strict=True):
            i = ROWS.index(setting)
            for j, arm in enumerate(present):
                table = arms[arm]
                at = np.arange(len(KS)) + (j - (len(present) - 1) / 2) * width
                value = 100 * np.nan_to_num(table.values[i])
                axis.bar(
                    at,
                    value,
                    width,
                    color=_COLOURS[arm],
                    hatch=_HATCH[arm],
                    edgecolor="white",
                    label=ARM_TITLES[arm],
                )
                _whiskers(axis, at, table, i)
            axis.set_title(SETTING_TITLES[setting])
            axis.set_xticks(range(len(KS)), [f"top-{k}" for k in KS])
            axis.set_ylim(0, 104)
            axis.grid(axis="y", color="#e3e7ea")
        for axis in axes[:, 0]:
            axis.set_ylabel("macro accuracy, %")
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="outside upper left",
            ncols=len(present),
            frameon=False,
        )
        return _svg(figure)


def ratio_points(tables: Mapping[str, EvaluationTable]) -> str:
    """Return points with intervals, one panel per ratio (retention, gain kept), in per cent of centralised."""
    titles = {"retention": "Retention: federated / centralised", "gain_kept": "Gain kept over the start"}
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 3.9), layout="constrained")
        axes = figure.subplots(1, len(tables), squeeze=False)[0]
        for axis, (name, table) in zip(axes, tables.items(), strict=True):
            axis.axvline(100, color="#56636E", linewidth=1, linestyle=(0, (4, 3)))
            for i, row in enumerate(ROWS):
                for j, k in enumerate(KS):
                    value, low, high = (100 * x[i, j] for x in (table.values, table.lower, table.upper))
                    if not math.isfinite(value):
                        continue
                    y = -i + 0.27 - 0.18 * j
                    if math.isfinite(low) and math.isfinite(high):
                        axis.plot([low, high], [y, y], color=_KIND_COLOURS[j], linewidth=1.6, alpha=0.75)
                    label = f"top-{k}" if row == ROWS[0] else None
                    axis.plot(value, y, _MARKS[j], color=_KIND_COLOURS[j], markersize=5, label=label)
            axis.set_yticks([-i for i in range(len(ROWS))], [SETTING_TITLES[row] for row in ROWS])
            axis.set_title(titles[name])
            axis.set_xlabel(
                "% of centralised" if name == "retention" else "% of what centralised training gained"
            )
            axis.grid(axis="x", color="#e3e7ea")
            # A share of a small gain has endless whiskers; the table has them in figures.
            left, right = axis.get_xlim()
            axis.set_xlim(max(left, -60), min(right, 220))
        axes[-1].tick_params(labelleft=len(tables) == 1)
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(KS), frameon=False
        )
        return _svg(figure)


def timeline(silos: tuple[str, ...], aggregations: tuple[Aggregation, ...]) -> str:
    """Return who is in each sum (filled) and who is not (hollow), with the start of the model's hash below."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(
            figsize=(max(4.8, min(12.0, 1.9 + 0.62 * len(aggregations))), 1.5 + 0.28 * len(silos)),
            layout="constrained",
        )
        axis = figure.subplots()
        for x, aggregation in enumerate(aggregations):
            for y, silo in enumerate(silos):
                there = silo in aggregation.survivors
                axis.plot(
                    x,
                    -y,
                    "o",
                    markersize=9,
                    color="#0072B2" if there else "white",
                    markeredgecolor="#0072B2" if there else "#B3261E",
                )
        axis.set_yticks([-y for y in range(len(silos))], silos)
        labels = [
            f"{a.member} t={a.t}\n{a.model_sha256[:8]}" + (f"\n{a.tries} tries" if a.tries > 1 else "")
            for a in aggregations
        ]
        crowded = len(aggregations) > 6
        axis.set_xticks(
            range(len(aggregations)),
            labels,
            rotation=60 if crowded else 0,
            ha="right" if crowded else "center",
            fontsize=8,
        )
        axis.set_xlim(-0.6, len(aggregations) - 0.4)
        axis.set_ylim(-len(silos) + 0.4, 0.6)
        axis.spines[["left", "bottom"]].set_visible(False)
        axis.tick_params(length=0)
        return _svg(figure)


def bytes_sent(result: ReportInput) -> str:
    """Return stacked bars of what each silo uploaded, in MiB by kind."""
    kinds = list(dict.fromkeys(kind for silo in result.silos for kind in silo.bytes_sent))
    names = [silo.name for silo in result.silos]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 1.5 + 0.34 * len(names)), layout="constrained")
        axis = figure.subplots()
        left = np.zeros(len(names))
        for i, kind in enumerate(kinds):
            amount = np.array([silo.bytes_sent.get(kind, 0) / 2**20 for silo in result.silos])
            axis.barh(names, amount, 0.62, left=left, color=_KIND_COLOURS[i % len(_KIND_COLOURS)], label=kind)
            left += amount
        for y, total in enumerate(left):
            axis.annotate(
                f"{total:.1f} MiB", (total, y), xytext=(4, 0), textcoords="offset points", va="center"
            )
        axis.invert_yaxis()
        axis.set_xlim(0, max(float(left.max()), 1e-6) * 1.14)
        axis.set_xlabel("MiB sent to the exchange")
        axis.grid(axis="x", color="#e3e7ea")
        figure.legend(loc="outside upper left", ncols=max(1, len(kinds)), frameon=False)
        return _svg(figure)


def _whiskers(axis: Any, at: Any, table: EvaluationTable, i: int) -> None:
    there = np.isfinite(table.lower[i]) & np.isfinite(table.upper[i])
    axis.vlines(
        at[there], 100 * table.lower[i, there], 100 * table.upper[i, there], color="#1b1f23", linewidth=1
    )


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # no dates: the same input, the same bytes
    figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()
