"""The planner's waits in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..api.reasons import RoundReason
from ..plan.kinds import EVALUATION
from .reasons import MEANINGS, at_the_silo
from .times import unix

_WHAT: Final = re.compile(r"(?P<step>.*?)(?: \((?P<why>[^()]*)\))?")
_SUM: Final = re.compile(r"(?P<step>.*?) (?P<member>\S+) t=(?P<t>\d+)")

_STEPS: Final = {
    "be registered and accepted": "be registered and accepted at the hub",
    "resume the round": "resume the round (spec.suspend: false)",
    "enrol": "enrol: fresh keys, once a grant of its data steward fits",
    "endorse the roster": "sign the roster",
    "open its key": "open its part of the common key to the other silos",
    "confirm": "confirm that it holds the common key",
    "keys": "send fresh keys and begin {of}",
    "shares": "share out its mask for {of}",
    "upload": "train and upload its masked update of {of}",
    "accept the survivors": "sign the list of silos whose updates are summed, {of}",
    "reveal shares": "reveal the shares that unmask the sum of {of}",
    "confirm the model": "compute the new model after {of} and post its hash",
    "rows": "encode its photos and send the masked rows",
    "score": "state the evaluation table that it computed from the sum",
    "sign the release": "check the release's manifest and sign it",
    "admit the newcomers": "admit the newcomers, as its data steward's grant allows or not",
    "seal the epoch's keys": "seal the epoch's keys to the newcomers",
    "job aggregate": "add up the masked updates",
    "job kernel": "rank the test photos",
}


_OF_SEVERAL: Final = {
    "its data steward's grant": "their data stewards' grants",
    "a grant of its data steward fits": "grants of their data stewards fit",
    "grants allows": "grants allow",
    "its masked update": "their masked updates",
    "its part": "their parts",
    "its mask for": "their masks for",
    "its photos": "their photos",
    "its test photos": "their test photos",
    "it holds": "they hold",
    "it computed": "they computed",
}


@dataclass(frozen=True, slots=True)
class Waited:
    """Something that one or more are waited for. `why` is the reason that stands beside it, or the Job's name."""

    who: tuple[str, ...]
    what: str
    why: str
    since: float
    until: float | None
    then: str


def grouped(waits: Iterable[Mapping[str, Any]]) -> list[Waited]:
    """The waits of a status; those that differ only in who is waited for as one."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for wait in waits:
        key = (wait["what"], unix(wait["since"]) or 0.0, unix(wait.get("until")), wait["then"])
        found.setdefault(key, []).append(wait["who"])
    groups = []
    for (what, since, until, then), who in found.items():
        parts = _WHAT.fullmatch(what)
        step, why = (parts["step"], parts["why"] or "") if parts else (what, "")
        groups.append(Waited(tuple(who), step, why, since, until, then))
    return groups


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = list(names) or ["nobody"]
    return f"{', '.join(most)} and {last}" if most else last


def _of(member: str, t: str) -> str:
    if member == EVALUATION:
        return "the evaluation"
    return f"{member}, communication round {t}"


def task(waited: Waited) -> str:
    """What has to be done, as an infinitive."""
    text = _infinitive(waited)
    if len(waited.who) > 1:
        for one, several in _OF_SEVERAL.items():
            text = text.replace(one, several)
    return text


def _infinitive(waited: Waited) -> str:
    parts = _SUM.fullmatch(waited.what)
    if parts is not None and parts["step"] in _STEPS:
        if (parts["member"], parts["step"]) == (EVALUATION, "upload"):
            return "score its test photos and upload the masked counts of the evaluation"
        return _STEPS[parts["step"]].format(of=_of(parts["member"], parts["t"]))
    return _STEPS.get(waited.what, waited.what)


def mover(waited: Waited) -> str:
    """Whose move it is."""
    who = listed(waited.who)
    if waited.who == ("coordinator",):
        return "yours (the coordinator's)"
    if waited.who == ("hub",):
        job = f": Job {waited.why}" if waited.why and waited.what.startswith("job ") else ""
        return f"the hub's own{job}"
    if waited.what == "be registered and accepted":
        return "the hub's platform team: a Silo of that name with spec.accepted true and a valid identity"
    if waited.why:
        return f"{who}: {waited.why}, {at_the_silo(waited.why)}"
    return (
        f"{who}; it works by itself, nobody has to do anything"
        if len(waited.who) == 1
        else f"{who}, each by itself"
    )


def consequence(waited: Waited) -> str:
    """What happens when the time is up (or at once, where it is the coordinator's move)."""
    then, who = waited.then, "them" if len(waited.who) > 1 else "it"
    if then == "go on without it":
        return f"the round goes on without {who}"
    if then == "another try":
        return "the hub starts another try with fresh masks; what was trained is not lost"
    if then == "a fresh enrolment":
        return "the hub starts a fresh enrolment, with new keys for all"
    if then.startswith("skip t="):
        return (
            f"communication round {then.removeprefix('skip t=')} is skipped: the model stays as it was before"
        )
    if then.startswith("Failed: "):
        reason = then.removeprefix("Failed: ")
        meaning = MEANINGS[RoundReason(reason)][0] if reason in set(RoundReason) else ""
        return f"the round fails with {reason}" + (f": {meaning}" if meaning else "")
    return then
