"""Releasing: the evaluation table that silos agree on, the release's manifest, the signatures under it."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785

from ..api.reasons import RoundReason
from ..api.round import Operation
from .context import Context, Draft, hex_of
from .kinds import EVALUATION, RELEASING, Kind
from .quorum_lost import quorum_lost
from .training import member_progress
from .tries import current_try
from .types import Entry
from .waiting import gather, state_waits


def step_scores(ctx: Context, out: Draft, rankings: Entry) -> None:
    """After the evaluation's sum: begin Releasing when tau silos state the same table (or none can exist)."""
    over = current_try(ctx, EVALUATION, 1).over
    if over is not None and over.kind == Kind.SKIP:
        out.decide((ctx.enrolment, RELEASING, 0, 0), Kind.STAGE, {})
        return
    floor = over.received if over is not None else rankings.received
    arrived = {s: e for s, e in ctx.board.silos(Kind.SCORE, ctx.at).items() if s in ctx.roster}
    _, agreeing = agreed_table(ctx)
    if len(agreeing) >= ctx.tau:
        out.decide((ctx.enrolment, RELEASING, 0, 0), Kind.STAGE, {})
    elif len(agreeing) + len(ctx.roster) - len(arrived) < ctx.tau:
        out.fail(
            RoundReason.EVALUATION_DIVERGED,
            f"{ctx.tau} equal evaluation tables are needed, the silos sent {len(arrived)} that differ",
        )
    else:
        step = gather(ctx, arrived, ctx.roster, needed=ctx.tau, floor=floor, excused=ctx.excused(ctx.at))
        if step.hopeless:
            quorum_lost(ctx, out, step.missing)
        else:
            state_waits(ctx, out, step, "score", floor)


def step_releasing(ctx: Context, out: Draft) -> None:
    """Post the manifest; release when all live silos signed it, or enough did in time."""
    manifest = ctx.board.hub(Kind.MANIFEST, ctx.at)
    if manifest is None:
        blob = build_manifest(ctx)
        out.decide(ctx.at, Kind.MANIFEST, {"digest": hashlib.sha256(blob).digest()}, [blob])
        return
    digest = manifest.body["digest"]
    said = ctx.board.silos(Kind.SIGN, ctx.at)
    signed = {s: e for s, e in said.items() if e.body["digest"] == digest}
    excused = ctx.excused(ctx.at) | (said.keys() - signed.keys())
    step = gather(ctx, signed, ctx.roster, needed=ctx.need, floor=manifest.received, excused=excused)
    if step.complete:
        out.decide(ctx.at, Kind.RELEASED, {"digest": digest, "signers": list(step.arrived)})
    elif step.hopeless:
        quorum_lost(ctx, out, step.missing, "signed another manifest")
    else:
        state_waits(ctx, out, step, "sign the release", manifest.received)


def agreed_table(ctx: Context) -> tuple[bytes | None, tuple[str, ...]]:
    """The evaluation table that most silos state (JSON bytes), and those silos."""
    tables: dict[bytes, list[str]] = {}
    for silo, entry in sorted(ctx.board.silos(Kind.SCORE, ctx.at).items()):
        if silo in ctx.roster:
            tables.setdefault(bytes(entry.body["table"]), []).append(silo)
    if not tables:
        return None, ()
    table = min(tables, key=lambda value: (-len(tables[value]), value))
    return table, tuple(tables[table])


def build_manifest(ctx: Context) -> bytes:
    """The release manifest as canonical JSON (RFC 8785): what the release was made of, and by whom.

    Digests and hashes are hexadecimal. Everything in it stands on the board, so that each silo rebuilds and
    compares it before it signs.
    """
    enrolled = ctx.board.hub(Kind.ENROLLED, ctx.at)
    closed = ctx.board.hub(Kind.ROWS_CLOSED, ctx.at)
    assert enrolled is not None
    assert closed is not None
    h = hex_of(enrolled.body["h"])
    enrols, rows = ctx.board.silos(Kind.ENROL, ctx.at), ctx.board.silos(Kind.ROWS, ctx.at)
    table, agreeing = agreed_table(ctx)
    base, operation = ctx.observed.base, ctx.round.operation
    sent = {s: rows[s].body for s in closed.body["silos"]}
    one = next(iter(sent.values()))
    older = base.manifest if base is not None and operation is Operation.ADOPT else None
    roster: dict[str, dict[str, Any]] = {}
    for silo in ctx.roster:
        body = enrols[silo].body
        roster[silo] = {"weight": body["weight"], "identity": hex_of(body["identity"])}
        if silo in sent:
            roster[silo]["data"] = hex_of(sent[silo]["data"])
        elif older is not None and "data" in older["roster"].get(silo, {}):
            roster[silo]["data"] = older["roster"][silo]["data"]
    manifest: dict[str, Any] = {
        "v": 1,
        "round": ctx.round.metadata.uid,
        "name": ctx.round.metadata.name,
        "operation": ctx.round.operation.value,
        "computation": ctx.digest,
        "parents": [base.digest] if base is not None else [],
        "enrolment": ctx.enrolment,
        "h": h,
        "epoch": older["epoch"] if older is not None else h,
        "epochCheck": hex_of(one["epoch_check"]),
        "bundle": {"digest": hex_of(one["sealed"]), "plain": f"sha256:{hex_of(one['bundle'])}"},
        "software": ctx.round.spec.get("software"),
        "roster": roster,
        "members": [_member(ctx, m.name, m.trainable) for m in ctx.round.members]
        if operation is Operation.TRAIN or base is None
        else base.manifest["members"],
        "rows": {
            **(older["rows"] if older is not None else {}),
            **{
                s: {
                    **{k: body[k] for k in ("gallery", "test", "undiagnosed")},
                    "digest": hex_of(body["digest"]),
                }
                for s, body in sent.items()
            },
        },
        "evaluation": None
        if table is None
        else {
            "digest": hashlib.sha256(table).hexdigest(),
            "silos": list(agreeing),
            "aggregation": _t(ctx, EVALUATION, 1),
        },
    }
    return rfc8785.dumps(manifest)


def _member(ctx: Context, name: str, trainable: bool) -> dict[str, Any]:
    if not trainable:
        return {"name": name, "trainable": False}
    progress = member_progress(ctx, name)
    rounds = [_t(ctx, name, t) for t in range(1, progress.done + 1)]
    return {
        "name": name,
        "trainable": True,
        "model": hex_of(progress.model) if progress.model is not None else None,
        "rounds": rounds,
    }


def _t(ctx: Context, member: str, t: int) -> dict[str, Any]:
    """One communication round: its model's hash and survivor set, or that it was skipped."""
    current = current_try(ctx, member, t)
    if current.over is None or current.over.kind == Kind.SKIP:
        return {"t": t, "skipped": True}
    return {"t": t, "model": hex_of(current.over.body["hash"]), "survivors": list(current.pinned or ())}
