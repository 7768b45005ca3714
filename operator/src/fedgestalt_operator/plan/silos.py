"""What a Silo's status says: accepted by the platform team, heard by the exchange, of a version that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..api.conditions import Condition, SiloCondition, Truth, documents, seconds
from ..api.reasons import SiloReason
from ..api.silo import Silo
from .deadlines import LOST_AFTER


@dataclass(frozen=True, slots=True)
class Hearing:
    """What the exchange says of a silo. Unix seconds of its clock; `last_heard` None: not since `serving_since`."""

    last_heard: float | None
    serving_since: float
    version: str = ""


@dataclass(frozen=True, slots=True)
class _Finding:
    status: Truth
    reason: SiloReason
    message: str = ""
    since: float | None = None
    """When it became so, where that is known; else the change is dated when it is seen."""


def silo_status(
    silo: Silo,
    hearing: Hearing | None,
    *,
    reachable: bool,
    lets_in: bool,
    hub_version: str,
    tasks: int,
    now: float,
    old: Mapping[str, Any],
) -> dict[str, Any]:
    """The status document of a Silo.

    Args:
        silo: as registered.
        hearing: None if the exchange does not know the silo yet.
        reachable: whether the exchange answered.
        lets_in: whether it said that it lets the silo in; of no meaning where it did not answer.
        hub_version: the hub's software version, `major.minor.patch`.
        tasks: its SiloTasks that are not over.
        now: the hub's clock.
        old: the status that stands; a condition whose status is as before keeps its time.
    """
    findings = {
        SiloCondition.ACCEPTED: _accepted(silo, lets_in if reachable else not _was_refused(old), now),
        SiloCondition.CONNECTED: _connected(hearing, reachable, _was_heard(old), now),
        SiloCondition.COMPATIBLE: _compatible(hearing, hub_version),
    }
    bad = next((f for f in findings.values() if f.status is not Truth.TRUE), None)
    ready = _Finding(Truth.TRUE, SiloReason.READY)
    if bad is not None:
        ready = _Finding(bad.status, bad.reason, bad.message, bad.since)
    findings[SiloCondition.READY] = ready
    before = {c["type"]: c for c in old.get("conditions", ())}
    conditions = [
        Condition(
            kind,
            f.status,
            f.reason,
            f.message,
            _since(f, before.get(kind.value), now),
            silo.metadata.generation,
        )
        for kind, f in findings.items()
    ]
    status: dict[str, Any] = {
        "observedGeneration": silo.metadata.generation,
        "tasks": tasks,
        "conditions": documents(conditions),
    }
    version = (hearing.version[:32] if hearing is not None else "") or old.get("version", "")
    if version:
        status["version"] = version
    return status


def _was_heard(old: Mapping[str, Any]) -> bool:
    """Whether the status that stands says that the silo has spoken: an exchange that was restarted has forgotten."""
    before = next((c for c in old.get("conditions", ()) if c["type"] == SiloCondition.CONNECTED), None)
    known = (SiloReason.HEARD, SiloReason.LINK_LOST, SiloReason.NOT_HEARD_YET)
    return bool(old.get("version")) or (before is not None and before["reason"] in known)


def _was_refused(old: Mapping[str, Any]) -> bool:
    """Whether the status that stands says that the exchange was told to refuse the silo."""
    before = next((c for c in old.get("conditions", ()) if c["type"] == SiloCondition.ACCEPTED), None)
    return before is not None and before["reason"] == SiloReason.NOT_ACCEPTED


def _accepted(silo: Silo, lets_in: bool, now: float) -> _Finding:
    """What the exchange does, not what is wished of it: who revokes a silo must see whether it is out."""
    if not silo.accepted and lets_in:
        return _Finding(
            Truth.FALSE,
            SiloReason.REVOCATION_PENDING,
            "spec.accepted is false and the exchange has not been told yet: it may still let the silo in",
        )
    if not silo.accepted:
        return _Finding(
            Truth.FALSE, SiloReason.NOT_ACCEPTED, "spec.accepted is false; the exchange refuses its requests"
        )
    if silo.identity(now) is None:
        last = max(i.not_after for i in silo.identities)
        return _Finding(
            Truth.FALSE,
            SiloReason.IDENTITY_EXPIRED,
            "every identity has passed its notAfter; add the site's new key to spec.identities",
            last,
        )
    return _Finding(Truth.TRUE, SiloReason.ACCEPTED)


def _connected(hearing: Hearing | None, reachable: bool, was_heard: bool, now: float) -> _Finding:
    if not reachable:
        return _Finding(
            Truth.UNKNOWN, SiloReason.EXCHANGE_UNREACHABLE, "the exchange does not answer the operator"
        )
    heard = None if hearing is None else hearing.last_heard
    if heard is None and not was_heard:
        return _Finding(
            Truth.UNKNOWN,
            SiloReason.NEVER_CONNECTED,
            "the exchange has never heard it; the hospital starts its agent with the key registered here",
        )
    if hearing is None or (heard is None and now - hearing.serving_since <= LOST_AFTER):
        return _Finding(
            Truth.UNKNOWN, SiloReason.NOT_HEARD_YET, "the exchange has not heard it since it started"
        )
    if heard is None or now - heard > LOST_AFTER:
        lost = (hearing.serving_since if heard is None else heard) + LOST_AFTER
        return _Finding(
            Truth.FALSE,
            SiloReason.LINK_LOST,
            f"not heard for {LOST_AFTER:.0f} s; tasks at the site go on",
            lost,
        )
    return _Finding(Truth.TRUE, SiloReason.HEARD)


def _compatible(hearing: Hearing | None, hub_version: str) -> _Finding:
    version = hearing.version if hearing is not None else ""
    if not version:
        return _Finding(Truth.UNKNOWN, SiloReason.VERSION_UNKNOWN, "the site has not said its version yet")
    if version.split(".")[:2] != hub_version.split(".")[:2]:
        return _Finding(
            Truth.FALSE,
            SiloReason.VERSION_DIFFERS,
            f"the site runs {version}, the hub {hub_version}; major and minor must agree",
        )
    return _Finding(Truth.TRUE, SiloReason.VERSION_FITS)


def _since(finding: _Finding, before: Mapping[str, Any] | None, now: float) -> float:
    if before is not None and before["status"] == finding.status.value:
        return seconds(before["lastTransitionTime"])
    return now if finding.since is None else finding.since
