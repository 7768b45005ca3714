"""Before a silo signs a release: does the manifest say what the silo itself knows?"""

from __future__ import annotations

import hashlib
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
    bundle = {"digest": one["sealed"].hex(), "plain": f"sha256:{one['bundle'].hex()}"}
    if adopting and base is not None:
        bundle = dict(base.manifest["bundle"])
    elif base is not None and computation["spec"]["operation"] == "Rotate":
        bundle["plain"] = base.manifest["bundle"]["plain"]
    own = rows.get(session.name)
    if own is not None and session.name in closed and not adopting:
        bundle["digest"] = own["sealed"].hex()
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
        "software": computation["spec"].get("software"),
        "bundle": bundle,
    }
    wrong = [name for name, value in expected.items() if manifest.get(name) != value]
    roster = manifest.get("roster", {})
    stated = {name: (entry.get("weight"), entry.get("identity")) for name, entry in roster.items()}
    if stated != {name: (weight, silos[name].hex()) for name, weight in session.weights.items()}:
        wrong.append("roster")
    wanted = {
        name: {**{k: rows[name][k] for k in _COUNTS}, "digest": rows[name]["digest"].hex()} for name in closed
    }
    data = {name: rows[name]["data"].hex() for name in closed}
    if adopting and base is not None:
        wanted = {**base.manifest["rows"], **wanted}
        known = base.manifest["roster"].items()
        data = {**{name: entry["data"] for name, entry in known if "data" in entry}, **data}
    if manifest.get("rows") != wanted:
        wrong.append("rows")
    if {name: entry["data"] for name, entry in roster.items() if "data" in entry} != {
        name: commitment for name, commitment in data.items() if name in roster
    }:
        wrong.append("data")
    tables = {m.slot.sender: m.body["table"] for m in _of(messages, Kind.SCORE, session.enrolment_number)}
    said = manifest.get("evaluation")
    own_table = tables.get(session.name)
    if own_table is not None and said is not None:
        found = hashlib.sha256(own_table).hexdigest()
        wrong += [] if said.get("digest") == found else ["evaluation"]
    named = {member["name"]: member.get("model") for member in manifest.get("members", [])}
    if trained:
        differing = any(named.get(name) != model for name, model in trained.items())
    else:
        differing = base is not None and manifest.get("members") != base.manifest["members"]
    return [*wrong, "members"] if differing else wrong


_COUNTS = ("gallery", "test", "undiagnosed")


def _of(messages: Sequence[Message], kind: Kind, enrolment: int) -> list[Message]:
    return [m for m in messages if m.slot.kind is kind and m.slot.enrolment == enrolment]
