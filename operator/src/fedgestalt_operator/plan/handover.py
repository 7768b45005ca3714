"""What the site's operator and the agent, two containers of one pod, hand each other in a folder that both see.

    tasks/NAME.json    operator -> agent: {"name", "spec"} of a SiloTask
    grants/NAME.yaml   operator -> agent: ParticipationGrants as they stand in the cluster
    status/NAME.json   agent -> operator: how a task stands
    ledger.json        agent -> operator: uses of grants, by the grants' keys
    releases.json      agent -> operator: which releases lie at this site, and whether they hold
    token              agent -> operator: a short-lived token for the exchange; the identity stays with the agent

Every file is whole or absent: written beside, synced, renamed. Pure: names and contents, no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..api.reasons import GrantReason, VerifiedReason
from ..api.task import SiloTask, TaskPhase, task_document
from .endpoint_types import Checked

TASKS: Final = "tasks"
GRANTS: Final = "grants"
STATUS: Final = "status"
LEDGER: Final = "ledger.json"
RELEASES: Final = "releases.json"
TOKEN: Final = "token"  # a file's name
STEP_PERCENT: Final = 5
TERMINAL: Final = frozenset({TaskPhase.SUCCEEDED.value, TaskPhase.FAILED.value})


@dataclass(frozen=True, slots=True)
class Use:
    """Counted uses of a grant, and the Unix time of the last; None before the first."""

    used: int = 0
    last_used: float | None = None


def task_file(task: SiloTask) -> dict[str, Any]:
    """What the agent gets of a task."""
    return {"name": task.metadata.name, "spec": task_document(task)["spec"]}


def grant_file(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the agent gets of a ParticipationGrant: its uid tells it from a later one of the same name."""
    metadata = {name: document["metadata"][name] for name in ("name", "uid") if name in document["metadata"]}
    head = {name: document[name] for name in ("apiVersion", "kind")}
    return {**head, "metadata": metadata, "spec": document["spec"]}


def grant_key(name: str, uid: str) -> str:
    """What the ledger calls a grant: by its uid, or on one machine, where there are none, by its name."""
    return f"uid:{uid}" if uid else f"name:{name}"


def status_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """SiloTask.status from what the agent says: percents in steps of 5, texts as long as they may be.

    Raises:
        ValueError: it says nothing of a phase.
    """
    fraction = said.get("fraction", 0.0)
    known = isinstance(fraction, int | float) and 0.0 <= fraction <= 1.0
    percent = int(100 * fraction) // STEP_PERCENT * STEP_PERCENT if known else 0
    status: dict[str, Any] = {"phase": TaskPhase(said.get("phase", "")).value, "percent": percent}
    for name, most in (("reason", 64), ("message", 1024)):
        if said.get(name):
            status[name] = str(said[name])[:most]
    return status | _causes(said)


def report_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """What the exchange is told of SiloTask.status, in the agent's own words."""
    report = {name: status[name] for name in ("phase", "reason", "message") if name in status}
    return {**report, **_causes(status), "fraction": status.get("percent", 0) / 100}


def causes_of(said: Mapping[str, Any]) -> tuple[GrantReason, ...]:
    """The rules of a site's grants that a task's status or report names; what is not of the closed list is left out."""
    listed = said.get("causes")
    if not isinstance(listed, list | tuple):
        return ()
    named = {value for value in listed if isinstance(value, str)}
    return tuple(reason for reason in GrantReason if reason.value in named)


def _causes(said: Mapping[str, Any]) -> dict[str, Any]:
    found = [reason.value for reason in causes_of(said)]
    return {"causes": found} if found else {}


def settled(status: Mapping[str, Any]) -> bool:
    """Whether a task is over: it stays as it is, and is never given to the agent again."""
    return status.get("phase") in TERMINAL


def uses_of(content: Any) -> dict[str, Use] | None:
    """Uses by grants' keys; None where the ledger is unreadable or was not written yet.

    Raises:
        ValueError: malformed.
    """
    if content is None:
        return None
    try:
        if content["unreadable"]:
            return None
        return {
            str(key): Use(int(u["used"]), None if u["lastUsed"] is None else float(u["lastUsed"]))
            for key, u in content["grants"].items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{LEDGER} is malformed: {error!r}; the agent writes it anew") from error


def checked_of(content: Any) -> dict[str, Checked] | None:
    """Releases by digest, as the agent found them; None where it has not said.

    Raises:
        ValueError: malformed.
    """
    if content is None:
        return None
    try:
        return {
            str(digest): Checked(VerifiedReason(found["reason"]), str(found["message"]))
            for digest, found in content["releases"].items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{RELEASES} is malformed: {error!r}; the agent writes it anew") from error
