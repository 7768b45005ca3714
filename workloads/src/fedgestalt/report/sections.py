"""The sections of report.html that are tables, pictures and plain words."""

from __future__ import annotations

import math
from html import escape
from typing import Final

from fedgestalt.evaluation import ARMS, KS, ROWS, EvaluationTable
from fedgestalt.report.content import ARM_TITLES, SETTING_TITLES, ratios
from fedgestalt.report.inputs import LookAlikes, Neighbour, Photo, ReportInput
from fedgestalt.report.pictures import BADGE, badged, data_uri

_LEAKS: Final = (
    "<b>The hub</b> sees which hospitals take part, their public weights, how many photos they encode, pseudonymous "
    "syndrome tokens with their frequencies, and how similar any two encoded photos are; it sees no photo, "
    "embedding, diagnosis, update or model.",
    "<b>The other hospitals</b> see the global model of every communication round and the summed test results; a "
    "syndrome that one hospital alone tests is that hospital's number.",
    "<b>The hub together with one hospital</b> sees the unblinded sums and every embedding of the epoch, and can "
    "forge the checksum: the two must not collude.",
    "<b>Whoever knows enough embeddings</b>, for example of published photos, can solve for the secret frame and so "
    "recover the rest: encoded photos are pseudonymised health data, never anonymous.",
    "<b>The global model</b> may remember patients it was trained on, and sums over rosters that differ by one "
    "hospital tell roughly what that hospital added: masks do not change this.",
)


def accuracy_table(result: ReportInput) -> str:
    """Return the table of accuracies: a block per setting, a row per arm, then retention and gain kept."""
    found = ratios(result)
    head = "".join(f"<th>top-{k}</th>" for k in KS)
    bodies = []
    for row in ROWS:
        title = f'<tr class="setting"><th colspan="{1 + len(KS)}">{escape(SETTING_TITLES[row])}</th></tr>'
        lines = [_line(arm, ARM_TITLES[arm], result.arms[arm], row) for arm in ARMS if arm in result.arms]
        names = {"retention": "Retention", "gain_kept": "Gain kept"}
        lines += [_line("ratio", names[name], table, row) for name, table in found.items()]
        bodies.append(f"<tbody>{title}{''.join(lines)}</tbody>")
    return (
        '<div class="scroll"><table><caption>In per cent, with 95 % bootstrap intervals over patients; '
        "retention and gain kept in per cent of centralised.</caption>"
        f'<thead><tr><th class="left">setting and arm</th>{head}</tr></thead>{"".join(bodies)}</table></div>\n'
    )


def _line(kind: str, title: str, table: EvaluationTable, row: str) -> str:
    i = ROWS.index(row)
    cells = []
    for j in range(len(KS)):
        value, low, high = (100 * float(x[i, j]) for x in (table.values, table.lower, table.upper))
        text = f"{value:.1f}" if math.isfinite(value) else "-"
        if math.isfinite(value) and math.isfinite(low) and math.isfinite(high):
            text += f' <span class="ci">{low:.0f} to {high:.0f}</span>'
        cells.append(f"<td>{text}</td>")
    return f'<tr class="{kind}"><th scope="row">{escape(title)}</th>{"".join(cells)}</tr>'


def sums_table(result: ReportInput) -> str:
    """Return every aggregation with its survivors and the whole hash of the model, folded away."""
    rows = "".join(
        f'<tr><th class="left">{escape(a.member)}</th><td>{a.t}</td>'
        f'<td class="left">{escape(", ".join(a.survivors))}</td>'
        f'<td>{a.tries}</td><td class="left"><code>{a.model_sha256}</code></td></tr>'
        for a in result.aggregations
    )
    return (
        '<details><summary>All aggregations with whole hashes</summary><div class="scroll"><table><thead><tr>'
        '<th class="left">member</th><th>t</th><th class="left">silos in the sum</th><th>tries</th>'
        f'<th class="left">SHA-256 of the new model</th></tr></thead><tbody>{rows}</tbody></table></div></details>\n'
    )


def look_alikes(result: ReportInput) -> str:
    """Return each silo's look-alikes; photos only of a synthetic cohort, and never another silo's."""
    head = "<section>\n<h2>Look-alikes, hospital by hospital</h2>\n"
    if not any(silo.look_alikes for silo in result.silos):
        return head + '<p class="missing">Left out: none were given.</p></section>'
    parts = [
        head,
        "<p>Each hospital's own test photos (left) with the nearest cases of its own gallery. A case of another "
        "hospital is only ever a handle, which opens by mutual consent.</p>",
    ]
    if not result.cohort.synthetic:
        parts.append('<p class="missing">Photos are left out: this cohort is of real people.</p>')
    for silo in result.silos:
        if silo.look_alikes:
            parts.append(f"<h3>{escape(silo.name)}</h3>")
            parts += [_case(case, shown=result.cohort.synthetic) for case in silo.look_alikes]
    return "\n".join(parts) + "</section>"


def _case(case: LookAlikes, *, shown: bool) -> str:
    query = _face(case.query, f"Test photo, {case.query.syndrome or 'undiagnosed'}", shown=shown)
    neighbours = []
    for rank, neighbour in enumerate(case.neighbours, start=1):
        same = bool(case.query.syndrome) and neighbour.syndrome == case.query.syndrome
        text = f"{rank}. {neighbour.syndrome or 'undiagnosed'}{' (same syndrome)' if same else ''}"
        neighbours.append(
            f'<div class="{"same" if same else "other"}">{_neighbour(neighbour, text, shown=shown)}</div>'
        )
    return f'<div class="case"><div class="query">{query}</div>{"".join(neighbours)}</div>'


def _neighbour(neighbour: Neighbour, text: str, *, shown: bool) -> str:
    if neighbour.photo is not None:
        return _face(neighbour.photo, text, shown=shown)
    handle = f"case <code>{escape(neighbour.handle)}</code> of another hospital"
    return f'<div class="handle">{escape(text)}<br/>{handle}</div>'


def _face(photo: Photo, text: str, *, shown: bool) -> str:
    if not shown:
        return f'<div class="handle">{escape(text)}</div>'
    uri = data_uri(badged(photo.pixels))
    alt = f"{BADGE}. {text}"
    return f'<figure><img src="{uri}" alt="{escape(alt)}"/><figcaption>{escape(text)}</figcaption></figure>'


def montage(result: ReportInput) -> str:
    """Return faces of a synthetic cohort; nothing of a real one."""
    if not result.montage or not result.cohort.synthetic:
        return ""
    faces = []
    for photo in result.montage:
        text = f"{photo.owner}, {photo.syndrome or 'undiagnosed'}"
        uri = data_uri(badged(photo.pixels))
        faces.append(
            f'<li><img src="{uri}" alt="{escape(f"{BADGE}. {text}")}"/><span>{escape(text)}</span></li>'
        )
    return (
        "<section>\n<h2>The cohort</h2>\n<p>These people do not exist. A program drew them, with features taken from "
        f'annotations of the Human Phenotype Ontology.</p>\n<ul class="faces">{"".join(faces)}</ul></section>'
    )


def leaks() -> str:
    """Return what becomes known to whom in five sentences."""
    items = "".join(f"<li>{text}</li>" for text in _LEAKS)
    return f"<section>\n<h2>What leaks, and to whom</h2>\n<ol>{items}</ol></section>"


def how_computed(result: ReportInput) -> str:
    """Return the commands, versions, times and digests behind the figures."""
    parts = ["<section>\n<h2>How it was computed</h2>"]
    if result.commands:
        parts.append(f"<pre>{escape(chr(10).join(result.commands))}</pre>")
    facts = {
        "created": result.created.isoformat(timespec="seconds"),
        "seed": str(result.seed),
        "SHA-256 of the final model": result.model_sha256,
        **result.versions,
        **{f"seconds, {stage}": f"{seconds:.1f}" for stage, seconds in result.stage_seconds.items()},
        "seconds, in all": f"{result.wall_seconds:.1f}",
    }
    rows = "".join(
        f'<tr><th class="left">{escape(k)}</th><td class="left"><code>{escape(v)}</code></td></tr>'
        for k, v in facts.items()
    )
    parts.append(f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>')
    parts.append(
        '<p class="soft">The same figures for programs are in report.json beside this file.</p></section>'
    )
    return "\n".join(parts)
