"""What changed between two statuses of a round, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .ends import condition
from .times import moment
from .words import Waited, grouped, listed


def changes(old: Mapping[str, Any], new: Mapping[str, Any], now: float) -> list[str]:
    """Lines for what a coordinator wants to know; nothing for what only ticks (percents, countdowns)."""
    return [*_round(old, new), *_members(old, new), *_silos(old, new), *_waits(old, new, now)]


def _round(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old.get("phase") != new.get("phase"):
        before = f" (was {old['phase']})" if "phase" in old else ""
        yield f"phase {new.get('phase', 'none')}{before}"
    attempt = new.get("enrolment", 0)
    if attempt > max(1, old.get("enrolment", 0)):
        yield f"enrolment attempt {attempt}: the one before was void"
    if old.get("roster") and set(old["roster"]) - set(new.get("roster", ())):
        yield f"roster closed without {listed(sorted(set(old['roster']) - set(new.get('roster', ()))))}"
    was, now = condition(old, "Suspended").get("status"), condition(new, "Suspended").get("status")
    if was != now and "True" in (was, now):
        yield "suspended" if now == "True" else "resumed"


def _members(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before = {m["name"]: m for m in old.get("members", ())}
    for member in new.get("members", ()):
        was = before.get(member["name"], {"done": 0, "skipped": []})
        if member["done"] != was["done"]:
            yield f"{member['name']}: {member['done']} of {member['rounds']} communication rounds done"
        for t in sorted(set(member.get("skipped", ())) - set(was.get("skipped", ()))):
            yield f"{member['name']}: communication round {t} was skipped"


def _silos(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before = {s["name"]: s for s in old.get("silos", ())}
    for silo in new.get("silos", ()):
        name, was = silo["name"], before.get(silo["name"], {"connected": True})
        if silo.get("connected") != was.get("connected"):
            yield f"{name}: {'connected again' if silo.get('connected') else 'not connected'}"
        if silo.get("fault") and silo["fault"] != was.get("fault"):
            yield f"{name}: fault {silo['fault']}{', takes no further part' if silo.get('out') else ''}"
        elif was.get("out") and not silo.get("out"):
            yield f"{name}: takes part again"
        task, earlier = silo.get("task") or {}, was.get("task") or {}
        if task.get("phase") == "Failed" != earlier.get("phase"):
            yield f"{name}: its task failed{': ' + task['reason'] if task.get('reason') else ''}"


def _waits(old: Mapping[str, Any], new: Mapping[str, Any], now: float) -> Iterator[str]:
    def key(w: Waited) -> tuple[Any, ...]:
        return (w.who, w.what, w.why, w.until, w.then)

    known = {key(w) for w in grouped(old.get("waitingFor", ()))}
    for w in grouped(new.get("waitingFor", ())):
        if key(w) not in known:
            why = f" ({w.why})" if w.why else ""
            until = f", until {moment(w.until, now)}, then {w.then}" if w.until is not None else ""
            who = {"hub": "the hub", "coordinator": "the coordinator"}.get(w.who[0], listed(w.who))
            yield f"waits for {who}: {w.what}{why}{until}"
