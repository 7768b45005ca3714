"""What a site's operator should write, to the agent's folder and to the cluster: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ..api.conditions import Condition, GrantCondition, Truth, documents, seconds, timestamp
from ..api.grant import CLOCK_TOLERANCE, ParticipationGrant, parse_grant
from ..api.reasons import UsableReason
from ..api.release import parse_release
from ..api.task import TaskKind, TaskPhase, parse_task
from ..kube.port import Document
from ..plan.endpoint_types import Checked
from ..plan.grants import Mismatch, unusable
from ..plan.handover import Use, grant_file, grant_key, settled, status_of, task_file
from .releases import site_release_status
from .state import LinkState, link_condition, shown_at

T = TypeVar("T")
_TEXTS: Final[Mapping[UsableReason, str]] = {
    UsableReason.GRANTED: "rounds that fit may enrol",
    UsableReason.REVOKED: "the data steward revoked it",
    UsableReason.EXPIRED: "notAfter has passed",
    UsableReason.USES_SPENT: "all uses are counted",
    UsableReason.LEDGER_UNREADABLE: "the agent does not show how often it was used; nothing new is let in",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a site's operator sees.

    Attributes:
        tasks, grants: SiloTasks and ParticipationGrants of the namespace, as documents.
        said: what the agent says of tasks, by name.
        uses: the ledger, by grants' keys; None where it is unreadable or was not written yet.
        releases: Releases of the namespace that a hub gave, as documents.
        checked: what the agent found of the releases on its disk, by digest; None where it has not said.
        link: how the link to the hub stands; None where nobody has said so yet.
    """

    tasks: tuple[Document, ...]
    grants: tuple[Document, ...]
    said: Mapping[str, Mapping[str, Any]]
    uses: Mapping[str, Use] | None
    releases: tuple[Document, ...] = ()
    checked: Mapping[str, Checked] | None = None
    link: LinkState | None = None


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What should lie in the folder, by name, and every status as it should be.

    `next_look`: Unix time at which a grant ends or a link that is down is to be shown; None if nothing of the kind is due.
    """

    task_files: Mapping[str, dict[str, Any]]
    grant_files: Mapping[str, dict[str, Any]]
    task_status: Mapping[str, dict[str, Any]]
    grant_status: Mapping[str, dict[str, Any]]
    release_status: Mapping[str, dict[str, Any]]
    next_look: float | None = None
    problems: tuple[str, ...] = field(default=())


def plan_site(seen: Seen, now: float) -> SitePlan:
    """Plan a site. `now`: Unix time by the site's clock."""
    problems: list[str] = []
    pairs = list(_parsed(parse_grant, (d for d in seen.grants if not _going(d)), problems))
    grants, standing = [grant for grant, _ in pairs], [document for _, document in pairs]
    lacking = unusable(((g, _use(g, seen.uses).used) for g in grants), now=now)
    files: dict[str, dict[str, Any]] = {}
    statuses: dict[str, dict[str, Any]] = {}
    for task, document in _parsed(parse_task, seen.tasks, problems):
        old = document.get("status", {})
        name = task.metadata.name
        said = seen.said.get(name)
        # Before the agent has begun nothing is lost by keeping it: it is given as soon as there is a grant.
        kept = said is None and task.kind is TaskKind.ENROL and lacking is not None
        try:
            status = _task_status(old, said, lacking if kept else None)
        except ValueError as error:
            problems.append(f"SiloTask {name}: what the agent says cannot be read: {error}")
            status = dict(old)
        if status:
            if not settled(status):
                status |= link_condition(seen.link, old, task.metadata.generation, now)
            statuses[name] = {**status, "observedGeneration": task.metadata.generation}
        if not kept and status.get("phase") != TaskPhase.FAILED:
            files[name] = task_file(task)
    due = [g.not_after + CLOCK_TOLERANCE for g in grants if not g.revoked]
    down = None if seen.link is None else shown_at(seen.link, now)
    if down is not None:
        due.append(down)
    return SitePlan(
        task_files=files,
        grant_files={d["metadata"]["name"]: grant_file(d) for d in standing},
        task_status=statuses,
        grant_status={
            grant.metadata.name: _grant_status(grant, document.get("status", {}), seen.uses, now)
            for grant, document in zip(grants, standing, strict=True)
        },
        release_status={
            found.metadata.name: site_release_status(
                found, seen.checked, now=now, old=document.get("status", {})
            )
            for found, document in _parsed(parse_release, seen.releases, problems)
        },
        next_look=min((moment for moment in due if moment >= now), default=None),
        problems=tuple(problems),
    )


def _going(document: Document) -> bool:
    return bool(document["metadata"].get("deletionTimestamp"))


def _parsed(
    parse: Callable[[Document], T], found: Iterable[Document], problems: list[str]
) -> Iterator[tuple[T, Document]]:
    """Those that can be read: one that another version wrote must not keep the others from their work."""
    for document in found:
        try:
            yield parse(document), document
        except (ValueError, KeyError, TypeError) as error:
            name = f"{document['kind']} {document['metadata']['name']}"
            problems.append(f"{name}: cannot be read ({error!r}); it is left out")


def _task_status(
    old: Mapping[str, Any], said: Mapping[str, Any] | None, lacking: Mismatch | None
) -> dict[str, Any]:
    if settled(old):
        return {name: value for name, value in old.items() if name != "observedGeneration"}
    if said is not None:
        return status_of(said)
    status: dict[str, Any] = {"phase": TaskPhase.PENDING.value, "percent": 0}
    if lacking is not None:
        reason = lacking.reason.value
        status |= {"reason": reason, "message": str(lacking), "causes": [reason]}
    return status


def _use(grant: ParticipationGrant, uses: Mapping[str, Use] | None) -> Use:
    return (uses or {}).get(grant_key(grant.metadata.name, grant.metadata.uid), Use())


def _grant_status(
    grant: ParticipationGrant, old: Mapping[str, Any], uses: Mapping[str, Use] | None, now: float
) -> dict[str, Any]:
    use = _use(grant, uses)
    if uses is None:  # what was counted stays what was counted
        use = Use(int(old.get("used", 0)), seconds(old["lastUsed"]) if "lastUsed" in old else None)
    reason = grant.usable(used=use.used, now=now)
    truth = Truth.TRUE if reason is UsableReason.GRANTED else Truth.FALSE
    if uses is None and reason not in (UsableReason.REVOKED, UsableReason.EXPIRED):
        reason, truth = UsableReason.LEDGER_UNREADABLE, Truth.UNKNOWN
    condition = Condition(
        GrantCondition.USABLE,
        truth,
        reason,
        _TEXTS[reason],
        _since(old.get("conditions", ()), truth, now),
        grant.metadata.generation,
    )
    status: dict[str, Any] = {
        "observedGeneration": grant.metadata.generation,
        "used": use.used,
        "summary": {"used": str(use.used) if grant.uses is None else f"{use.used}/{grant.uses}"},
        "conditions": documents([condition]),
    }
    if use.last_used is not None:
        status["lastUsed"] = timestamp(use.last_used)
    return status


def _since(old: Iterable[Mapping[str, Any]], truth: Truth, now: float) -> float:
    for condition in old:
        if condition["type"] == GrantCondition.USABLE and condition["status"] == truth:
            return seconds(condition["lastTransitionTime"])
    return now
