"""What a Release's status says: whether its gallery is served, and whether its epoch is due for rotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..api.conditions import Condition, ReleaseCondition, Truth, documents, seconds, timestamp
from ..api.reasons import PublishedReason, RotationReason
from ..api.release import Release

MAX_DUE: Final = 128


@dataclass(frozen=True, slots=True)
class Due:
    """One cause of a rotation: `cause` is Withdrawal, Departure or BudgetSpent; `since` Unix seconds."""

    cause: str
    silo: str
    since: float


@dataclass(frozen=True, slots=True)
class EpochState:
    """An epoch as the exchange knows it: the rows it keeps, and why it should be rotated.

    `look_due`: cases went since the hub looked for clusters of undiagnosed ones.
    `successor` is the release (hexadecimal digest) that rotated it: then it has no rows and answers nothing.
    """

    gallery: int
    undiagnosed: int
    due: tuple[Due, ...] = ()
    successor: str = ""
    look_due: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What the exchange says of a release: reachable at all, the release kept by the hub, its epoch served."""

    reachable: bool
    kept: bool = False
    epoch: EpochState | None = None


def release_status(release: Release, seen: Seen, *, now: float, old: Mapping[str, Any]) -> dict[str, Any]:
    """The status document of a Release. A condition whose status is as in `old` keeps its time."""
    before = {c["type"]: c for c in old.get("conditions", ())}

    def condition(
        kind: ReleaseCondition,
        status: Truth,
        reason: PublishedReason | RotationReason,
        message: str,
        since: float,
    ) -> Condition:
        known = before.get(kind.value)
        if known is not None and known["status"] == status.value:
            since = seconds(known["lastTransitionTime"])
        return Condition(kind, status, reason, message, since, release.metadata.generation)

    status: dict[str, Any] = {
        "observedGeneration": release.metadata.generation,
        "summary": {"signed": f"{len(release.signers)}/{len(release.silos)}"},
    }
    published, rotation = ReleaseCondition.PUBLISHED, ReleaseCondition.ROTATION_DUE
    if not seen.reachable:
        away = "the exchange does not answer the operator"
        conditions = [
            condition(published, Truth.UNKNOWN, PublishedReason.EXCHANGE_UNREACHABLE, away, now),
            condition(rotation, Truth.UNKNOWN, RotationReason.EXCHANGE_UNREACHABLE, away, now),
        ]
        return status | {"conditions": documents(conditions)}
    if seen.epoch is not None and seen.epoch.successor:
        message = f"rotated by release {seen.epoch.successor[:12]}, which sites should serve instead"
        conditions = [condition(published, Truth.FALSE, PublishedReason.EPOCH_ENDED, message, now)]
    elif seen.kept and seen.epoch is not None:
        conditions = [condition(published, Truth.TRUE, PublishedReason.SERVED, "", now)]
    else:
        message = (
            "its bundle is not in the hub's store"
            if not seen.kept
            else "its epoch answers no queries any more"
        )
        conditions = [condition(published, Truth.FALSE, PublishedReason.BLOB_MISSING, message, now)]
    due = sorted(seen.epoch.due, key=lambda d: (d.since, d.cause, d.silo)) if seen.epoch is not None else []
    if due:
        first, more = due[0], f" (+{len(due) - 1})" if len(due) > 1 else ""
        message = f"{first.silo}: {first.cause}{more}; create a round with operation Rotate"
        conditions.append(condition(rotation, Truth.TRUE, RotationReason(first.cause), message, first.since))
        status["rotationDue"] = [
            {"cause": d.cause, "silo": d.silo, "since": timestamp(d.since)} for d in due[:MAX_DUE]
        ]
    else:
        conditions.append(condition(rotation, Truth.FALSE, RotationReason.NOT_DUE, "", now))
    if seen.epoch is not None:
        status["counts"] = {"gallery": seen.epoch.gallery, "undiagnosed": seen.epoch.undiagnosed}
    return status | {"conditions": documents(conditions)}
