"""`why`: what a round waits for, until when, whose move it is, and what happens then; or why it ended so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from ..api.reasons import RoundReason
from ..api.release import release_name
from ..api.round import MANAGED_BY, Phase
from ..plan.attempts import MAX_ENROLMENTS
from .ends import condition, over
from .reasons import MEANINGS, at_the_silo, of_grants, page
from .times import moment, relative, span, unix
from .words import Waited, consequence, grouped, listed, mover, task

MOST_WAITS: Final = 8
_NAMES: Final[dict[tuple[str, ...], str]] = {("coordinator",): "you, the coordinator,", ("hub",): "the hub"}


def explain(document: Mapping[str, Any], now: float) -> list[str]:
    """The lines of an answer. `now` is Unix time."""
    status, name = document.get("status") or {}, document["metadata"]["name"]
    if "phase" not in status:
        return _unseen(document, now)
    succeeded = condition(status, "Succeeded")
    lines = _end(name, status, now) if over(status) is not None else _running(document, status, now)
    reason = str(succeeded.get("reason", status["phase"]))
    return [*lines, "", f"More: {page(reason)}"]


def _unseen(document: Mapping[str, Any], now: float) -> list[str]:
    name, manager = document["metadata"]["name"], document["spec"].get("managedBy", MANAGED_BY)
    if manager != MANAGED_BY:
        return [f"Round {name} is managed by {manager}, not by this hub: it says nothing about it."]
    created = unix(document["metadata"].get("creationTimestamp")) or now
    return [
        f"Round {name} has no status yet: the hub's operator has not looked at it since it was created {relative(created, now)}.",
        "If that lasts longer than a minute, see whether the operator runs: kubectl get deployment fedgestalt-hub",
    ]


def _running(document: Mapping[str, Any], status: Mapping[str, Any], now: float) -> list[str]:
    name, phase = document["metadata"]["name"], str(status["phase"])
    meaning = MEANINGS[RoundReason(phase)][0]
    lines = [f"Round {name} is {phase}: {meaning}.", *_progress(status)]
    if document["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        lines.append("Its spec was changed a moment ago; the hub has not looked at the change yet.")
    suspended = condition(status, "Suspended")
    if suspended.get("status") == "True":
        since = unix(suspended["lastTransitionTime"]) or now
        lines.append(
            f"It is suspended since {moment(since, now)} ({span(now - since)}): both deadlines stand still, "
            "what was begun is finished."
        )
    groups = grouped(_waits(status))
    for group in groups[:MOST_WAITS]:
        lines += ["", *_wait(group, status, now)]
    if len(groups) > MOST_WAITS:
        lines += [
            "",
            f"... and {len(groups) - MOST_WAITS} more; kubectl get fround {name} -o yaml shows all.",
        ]
    if not groups:
        lines += ["", "It waits for nothing: the hub is taking its next step."]
    return lines


def _progress(status: Mapping[str, Any]) -> list[str]:
    """How far it is, in one or two sentences."""
    silos, summary = status.get("silos", ()), status.get("summary", {})
    lines = []
    match status["phase"]:
        case Phase.ENROLLING:
            lines.append(f"This is enrolment attempt {status['enrolment']} of at most {MAX_ENROLMENTS}.")
        case Phase.TRAINING:
            for member in status.get("members", ()):
                skipped = f", {len(member['skipped'])} of them skipped" if member.get("skipped") else ""
                lines.append(
                    f"{member['name']}: {member['done']} of {member['rounds']} communication rounds done{skipped}."
                )
        case Phase.ENCODING | Phase.MATCHING | Phase.RELEASING:
            words = {"rows": "silos have sent their rows", "scores": "silos have stated the evaluation"}
            words["signed"] = "silos have signed the release"
            kind, _, count = summary.get("progress", "").partition(" ")
            if kind in words and "/" in count:
                lines.append(f"{count.replace('/', ' of ')} {words[kind]}.")
    if silos:
        there = [s for s in silos if s.get("connected") and not s.get("out")]
        need = f", {summary['need']} are needed" if summary.get("need") else ""
        lines.append(f"{len(there)} of {len(silos)} silos can work{need}.")
    return lines


def _waits(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is waited for, with the reason of a task that failed: such a silo does not come by itself."""
    tasks = {s["name"]: s.get("task") or {} for s in status.get("silos", ())}
    found = []
    for wait in status.get("waitingFor", ()):
        work = tasks.get(wait["who"], {})
        if work.get("phase") == "Failed" and work.get("reason") and not wait["what"].endswith(")"):
            wait = {**wait, "what": f"{wait['what']} ({work['reason']})"}
        found.append(wait)
    return found


def _wait(group: Waited, status: Mapping[str, Any], now: float) -> list[str]:
    who = _NAMES.get(group.who, listed(group.who))
    lines = [
        f"It waits for {who} to {task(group)}.",
        f"  Whose move:  {mover(group)}",
        *_work(group, status),
        *_grants("Its grants:  " if len(group.who) == 1 else "Grants:      ", status, group.who),
        f"  Since:       {moment(group.since, now)} ({span(now - group.since)})",
    ]
    if group.until is None:
        lines.append("  Until:       no deadline runs")
    elif group.until > now:
        lines.append(f"  Until:       {moment(group.until, now)} (in {span(group.until - now)})")
    else:
        late = span(now - group.until)
        lines.append(f"  Until:       {moment(group.until, now)}, {late} ago: the hub is about to act")
    return [*lines, f"  Then:        {consequence(group)}"]


def _work(group: Waited, status: Mapping[str, Any]) -> list[str]:
    """What the tasks of those silos say."""
    silos = {s["name"]: s.get("task") for s in status.get("silos", ())}
    found = []
    for silo in group.who:
        work = silos.get(silo)
        if work and (work["phase"] != "Running" or work.get("reason") or work.get("percent")):
            reason = f" ({work['reason']})" if work.get("reason") else ""
            part = f", {work['percent']} %" if work.get("percent") and work["phase"] == "Running" else ""
            found.append(f"{silo} {str(work['phase']).lower()}{reason}{part}")
    label = "Its task:    " if len(group.who) == 1 else "Tasks:       "
    return [f"  {label}{', '.join(found[:MOST_WAITS])}"] if found else []


def _grants(label: str, status: Mapping[str, Any], silos: Collection[str] | None = None) -> list[str]:
    """Which rules of their grants the round does not fit, a line for each of `silos`, or of all."""
    tasks = {s["name"]: s.get("task") or {} for s in status.get("silos", ())}
    refused = [(name, task["causes"]) for name, task in tasks.items() if task.get("causes")]
    return [
        f"  {label}{name}: {', '.join(map(of_grants, causes))}"
        for name, causes in refused
        if silos is None or name in silos
    ]


def _end(name: str, status: Mapping[str, Any], now: float) -> list[str]:
    succeeded = condition(status, "Succeeded")
    reason, when = str(succeeded.get("reason", "")), unix(succeeded.get("lastTransitionTime")) or now
    meaning, advice = MEANINGS.get(RoundReason(reason), ("", "")) if reason in set(RoundReason) else ("", "")
    word = "succeeded" if status["phase"] == Phase.SUCCEEDED else "failed"
    lines = [f"Round {name} {word} at {moment(when, now)} ({relative(when, now)}): {reason}."]
    if meaning:
        lines.append(f"  What it means:  {meaning}")
    if succeeded.get("message"):
        lines.append(f"  The hub says:   {succeeded['message']}")
    if status.get("releaseDigest"):
        digest = str(status["releaseDigest"])
        lines.append(f"  Release:        {release_name(name, digest)} (sha256:{digest})")
    for member in status.get("members", ()):
        if member.get("skipped"):
            lines.append(
                f"  Skipped:        {member['name']}, communication round {listed(str(t) for t in member['skipped'])}"
            )
    for silo in status.get("silos", ()):
        if silo.get("fault") and (silo.get("out") or status["phase"] == Phase.FAILED):
            lines.append(f"  {silo['name']}:".ljust(18) + f"{silo['fault']}, {at_the_silo(silo['fault'])}")
        elif (work := silo.get("task") or {}).get("phase") == "Failed" and work.get("reason"):
            lines.append(f"  {silo['name']}:".ljust(18) + f"{work['reason']}, {at_the_silo(work['reason'])}")
        elif not silo.get("connected") and status["phase"] == Phase.FAILED:
            lines.append(f"  {silo['name']}:".ljust(18) + "not connected")
    lines += _grants("Grants:         ", status)
    if advice:
        lines.append(f"  What to do:     {advice}")
    return lines
