"""A round on a terminal: the road of its phases, members, silos, what it waits for, what has just happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..api.round import Operation, Phase
from .ends import condition, over
from .times import moment, span
from .words import grouped, listed

_ROAD: Final = (
    Phase.PENDING,
    Phase.ENROLLING,
    Phase.TRAINING,
    Phase.ENCODING,
    Phase.MATCHING,
    Phase.RELEASING,
    Phase.SUCCEEDED,
)
_MOST_ROWS: Final = 12
_BAR: Final = 24


def screen(
    document: Mapping[str, Any], transitions: Sequence[tuple[float, str]], now: float
) -> RenderableType:
    """The whole view at `now` (Unix time). `transitions` are (time, line), the last ones are shown."""
    status = document.get("status") or {}
    parts: list[RenderableType] = [_title(document, status), road(document, status)]
    for part in (_members(status), _silos(status), _waits(status, now)):
        if part is not None:
            parts += [Text(), part]
    if transitions:
        recent = Table.grid(padding=(0, 2))
        for at, line in transitions[-8:]:
            recent.add_row(Text(moment(at, now), style="dim"), Text(line))
        parts += [Text(), recent]
    return Group(*parts)


def _title(document: Mapping[str, Any], status: Mapping[str, Any]) -> Text:
    summary = status.get("summary", {})
    title = Text.assemble((document["metadata"]["name"], "bold"), f"  {document['spec']['operation']}")
    if summary.get("silos"):
        title.append(f"  silos {summary['silos']}")
    if summary.get("need"):
        title.append(f", {summary['need']} needed")
    if condition(status, "Suspended").get("status") == "True":
        title.append("  suspended", "yellow")
    return title


def road(document: Mapping[str, Any], status: Mapping[str, Any]) -> Text:
    """The phases that this operation passes, the present one in brackets."""
    trains = document["spec"]["operation"] == Operation.TRAIN
    stops = document["spec"].get("stopAfter") == "Enrolling"
    phases = [p for p in _ROAD if p is not Phase.TRAINING or trains]
    if stops:
        phases = [Phase.PENDING, Phase.ENROLLING, Phase.SUCCEEDED]
    here = status.get("phase", Phase.PENDING.value)
    text = Text()
    if here == Phase.FAILED:
        text.append("[Failed] ", "bold red").append(str(condition(status, "Succeeded").get("reason", "")))
        return text
    at = next((place for place, phase in enumerate(phases) if phase == here), 0)
    for place, phase in enumerate(phases):
        if place:
            text.append(" > ", "dim")
        if place == at:
            text.append(f"[{phase.value}]", "bold green" if over(status) is not None else "bold")
        else:
            text.append(phase.value, "green" if place < at else "dim")
    return text


def _table(*head: str) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for column in head:
        table.add_column(column)
    return table


def _members(status: Mapping[str, Any]) -> Table | None:
    members = status.get("members", ())
    if not members:
        return None
    table = _table("MEMBER", "", "DONE", "SKIPPED")
    for member in members:
        bar = ProgressBar(total=max(1, member["rounds"]), completed=member["done"], width=_BAR)
        skipped = ", ".join(str(t) for t in member.get("skipped", ()))
        table.add_row(member["name"], bar, f"{member['done']}/{member['rounds']}", skipped)
    return table


def _silos(status: Mapping[str, Any]) -> Table | None:
    silos = list(status.get("silos", ()))
    if not silos:
        return None
    awaited: dict[str, str] = {}
    for wait in grouped(status.get("waitingFor", ())):
        for silo in wait.who:
            awaited.setdefault(silo, wait.what)
    # Those with something to say first, where not all have room.
    silos.sort(key=lambda s: (bool(s.get("connected")), not s.get("fault"), s["name"] not in awaited))
    shown = sorted(silos[:_MOST_ROWS], key=lambda s: str(s["name"]))
    table = _table("SILO", "LINK", "TASK", "AWAITED", "NOTE")
    for silo in shown:
        task = silo.get("task") or {}
        work = str(task.get("phase", "")) + (f" {task['percent']} %" if task.get("percent") else "")
        link = Text("up", "green") if silo.get("connected") else Text("lost", "red")
        notes = [silo.get("fault", ""), task.get("reason", ""), silo.get("differs", "")]
        note = ", ".join(dict.fromkeys(n for n in notes if n)) + (" (out)" if silo.get("out") else "")
        table.add_row(silo["name"], link, work, awaited.get(silo["name"], ""), note)
    if len(silos) > len(shown):
        table.add_row(f"... and {len(silos) - len(shown)} more", "", "", "", "")
    return table


def _waits(status: Mapping[str, Any], now: float) -> Table | None:
    waits = grouped(status.get("waitingFor", ()))
    if not waits:
        return None
    table = _table("WAITING FOR", "WHAT", "UNTIL", "LEFT", "THEN")
    for wait in waits[:5]:
        what = wait.what + (f" ({wait.why})" if wait.why else "")
        until = "" if wait.until is None else moment(wait.until, now)
        left = "" if wait.until is None else span(wait.until - now) if wait.until > now else "due"
        table.add_row(listed(wait.who), what, until, left, wait.then)
    if len(waits) > 5:
        table.add_row(f"... and {len(waits) - 5} more", "", "", "", "")
    return table
