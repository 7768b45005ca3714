"""Before a silo signs a release: does the manifest say what the silo itself knows?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedgestalt.secagg.messages import Kind, Message
from fedgestalt.secagg.session import SiloSession
from fedgestalt.silo.base import Base


def disagreements(
    manifest: Mapping[str, Any],
    *,
    computation: Mapping[str, Any],
    session: SiloSession,
    epoch: bytes,
    epoch_check: bytes,
    trained: Mapping[str, str],
    base: Base | None,
    messages: Sequence[Message],
) -> list[str]:
    """Names of the manifest's parts that are not as they should be; empty when it can be signed.

    Args:
        manifest: the hub's.
        computation: the frozen computation.
        session: this silo's, enrolled.
        epoch, epoch_check: of the keys that the rows were masked with.
        trained: hash (hex) of each trained member as this silo holds it.
        base: what the round builds on.
        messages: the board so far.
    """
    adopting = computation["spec"]["operation"] == "Adopt"
    rows = {m.slot.sender: m.body for m in _of(messages, Kind.ROWS, session.enrolment_number)}
    closed = next(m for m in _of(messages, Kind.ROWS_CLOSED, session.enrolment_number)).body["silos"]
    one = rows[closed[0]]
    silos = session.computation.silos
    expected: dict[str, Any] = {
        "round": computation["round"],
        "name": computation["name"],
        "operation": computation["spec"]["operation"],
        "computation": session.computation.digest.hex(),
        "parents": [base.digest] if base is not None else [],
        "enrolment": session.enrolment_number,
        "h": session.h.hex(),
        "epoch": epoch.hex(),
        "epochCheck": epoch_check.hex(),
        "bundle": {"digest": one["sealed"].hex(), "plain": f"sha256:{one['bundle'].hex()}"},
    }
    wrong = [name for name, value in expected.items() if manifest.get(name) != value]
    roster = manifest.get("roster", {})
    stated = {name: (entry.get("weight"), entry.get("identity")) for name, entry in roster.items()}
    if stated != {name: (weight, silos[name].hex()) for name, weight in session.weights.items()}:
        wrong.append("roster")
    listed = {name: entry.get("digest") for name, entry in manifest.get("rows", {}).items()}
    wanted = {name: rows[name]["digest"].hex() for name in closed}
    if adopting and base is not None:
        wanted = {**{name: entry.get("digest") for name, entry in base.manifest["rows"].items()}, **wanted}
    if listed != wanted:
        wrong.append("rows")
    named = {member["name"]: member.get("model") for member in manifest.get("members", [])}
    if trained:
        differing = any(named.get(name) != model for name, model in trained.items())
    else:
        differing = base is not None and manifest.get("members") != base.manifest["members"]
    return [*wrong, "members"] if differing else wrong


def _of(messages: Sequence[Message], kind: Kind, enrolment: int) -> list[Message]:
    return [m for m in messages if m.slot.kind is kind and m.slot.enrolment == enrolment]
