"""What ``fedgestalt release show`` says of a release."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedgestalt.evaluation import EvaluationError, EvaluationTable, accuracy_table
from fedgestalt.lineage import Proof, ReleaseStore, StoredRelease, StoreError, rotated_by
from fedgestalt.lineage.manifest import Manifest, MemberLineage
from fedgestalt.lineage.store import COMPUTATION, PROOF
from fedgestalt.secagg.kinds import Kind

SYNTHETIC: Final = "synthdysm"
EPOCH: Final = "epoch.json"
_EPOCH_LIMIT: Final = 1 << 16
_DO: Final = {
    "Train": "trained by its roster",
    "Adopt": "taken over by newcomers, not trained",
    "Rotate": "the parent's models under a new epoch, not trained",
}
_UNDONE: Final = (
    "  - trained weights: what a model learnt from a case stays in it until it is trained anew",
    "  - a hub that kept old rows: deletion there is a promise, a new epoch protects only what comes",
    "  - what was answered, downloaded or written down before",
)


@dataclass(frozen=True)
class EpochState:
    """What has become of the release's epoch, as the silo or hub beside it recorded it.

    Attributes:
        rotation_due: whether a Rotate round is due.
        causes: why, where recorded.
        tombstones: withdrawn cases; None where not recorded.
    """

    rotation_due: bool
    causes: tuple[str, ...]
    tombstones: int | None


def show(console: Console, release: StoredRelease) -> None:
    """Print what a release is, who made it, how good it is, and what withdrawing from it cannot undo.

    Raises:
        LineageError: one of its files is missing or malformed.
    """
    manifest = release.manifest
    dataset = _dataset(release)
    synthetic = dataset == SYNTHETIC
    badge = " [black on yellow] synthetic [/]" if synthetic else ""
    when = datetime.fromtimestamp(release.created, UTC).strftime("%Y-%m-%d %H:%MZ")
    _print(console, f"[bold]{escape(manifest.name)}[/bold]  {manifest.digest}{badge}")
    facts = {
        "operation": f"{manifest.operation}: {_DO[manifest.operation]}",
        "stored": when,
        "parents": ", ".join(parent[:12] for parent in manifest.parents) or "none",
        "round": f"{escape(manifest.round)}, enrolment {manifest.enrolment}",
        "dataset": escape(dataset if dataset.isprintable() else ascii(dataset)),
        "epoch": f"{manifest.epoch[:16]} {_epoch_note(manifest)}",
        "rotation": _rotation(release),
    }
    _print(console, *(f"  {name:<10} {text}" for name, text in facts.items()))
    _print(console, "", "[bold]Members[/bold]", *map(_member, manifest.members))
    console.print("\n[bold]Roster[/bold]")
    console.print(_roster(manifest))
    _evaluation(console, release, synthetic=synthetic)
    _print(console, "", "[bold]What a withdrawal from this release cannot undo[/bold]", *_UNDONE)


def read_epoch(release: StoredRelease) -> EpochState | None:
    """What ``epoch.json`` beside the release says; None if there is none or it cannot be read.

    ``rotationDue`` is a boolean, or the exchange's list of causes; ``tombstones`` may be absent.
    """
    path = release.folder / EPOCH
    try:
        if path.stat().st_size > _EPOCH_LIMIT:
            return None
        content = json.loads(path.read_bytes())
        due, tombstones = content["rotationDue"], content.get("tombstones")
        causes = tuple(f"{c['cause']} of {c['silo']}" for c in due) if isinstance(due, list) else ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(due, bool | list) or not (tombstones is None or type(tombstones) is int):
        return None
    if not all(cause.isprintable() for cause in causes):
        return None
    return EpochState(bool(due), causes, tombstones)


def read_ended(release: StoredRelease) -> str | None:
    """The release that ended this one's epoch, where the hub told so and ``epoch.json`` keeps it; else None."""
    try:
        ended = json.loads((release.folder / EPOCH).read_bytes())["endedBy"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return ended if isinstance(ended, str) and re.fullmatch("[0-9a-f]{64}", ended) else None


def evaluation_table(release: StoredRelease) -> EvaluationTable | None:
    """The table that the release's silos stated; None if there is none.

    Raises:
        ProofError: the proof is malformed.
        EvaluationError: the table is of another form.
    """
    evaluation = release.manifest.evaluation
    if evaluation is None:
        return None
    scores = Proof.parse(release.read(PROOF)).silos(Kind.SCORE)
    table = next((scores[s].body["table"] for s in evaluation.silos if s in scores), None)
    if table is None:
        return None
    try:
        content: Any = json.loads(table)["table"]
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError("the silos' evaluation table is no JSON object with a table") from error
    return EvaluationTable.from_json(content)


def _dataset(release: StoredRelease) -> str:
    try:
        found = json.loads(release.read(COMPUTATION))["spec"].get("dataset", "not stated")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{release.folder / COMPUTATION} is damaged: fetch the release again") from error
    return str(found)


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


def _epoch_note(manifest: Manifest) -> str:
    return "(begun by this round)" if manifest.epoch == manifest.h else "(of an earlier round)"


def _rotation(release: StoredRelease) -> str:
    rotation = rotated_by(ReleaseStore(release.folder.parent), release.manifest.epoch)
    ended = read_ended(release) if rotation is None else rotation.digest
    if ended is not None:
        name = "" if rotation is None else f" ({escape(rotation.manifest.name)})"
        return f"[bold red]EpochEnded[/]: release {ended[:12]}{name} took its place; it answers no questions"
    state = read_epoch(release)
    if state is None:
        return "not known here (no readable epoch.json beside the release)"
    withdrawn = [] if state.tombstones is None else [f"{state.tombstones} case(s) withdrawn"]
    if not state.rotation_due:
        return ", ".join(["not due", *withdrawn])
    why = escape("; ".join([*withdrawn, *state.causes]) or "cause not recorded")
    return f"[bold red]RotationDue[/]: {why}. Create a round with operation Rotate"


def _roster(manifest: Manifest) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("  silo", "weight", "gallery", "test", "undiagnosed", "identity"):
        table.add_column(heading, justify="left" if heading in ("  silo", "identity") else "right")
    for silo in sorted(manifest.roster):
        entry, rows = manifest.roster[silo], manifest.rows.get(silo)
        counts = ("-", "-", "-") if rows is None else (rows.gallery, rows.test, rows.undiagnosed)
        identity = entry.identity[:12] if entry.identity else "not stated"
        table.add_row(f"  {silo}", str(entry.weight), *map(str, counts), identity)
    return table


def _member(member: MemberLineage) -> str:
    if not member.trainable:
        return f"  {member.name}: as pretrained"
    done = [r for r in member.rounds if not r.skipped]
    skipped = [str(r.t) for r in member.rounds if r.skipped]
    survivors = {len(r.survivors) for r in done}
    several = (
        f"{min(survivors)} to {max(survivors)}" if len(survivors) > 1 else str(max(survivors, default=0))
    )
    text = f"  {member.name}: {len(done)} communication rounds of {several} silos"
    text += f", skipped t = {', '.join(skipped)}" if skipped else ""
    return f"{text}, model {member.model[:12]}" if member.model else text


def _evaluation(console: Console, release: StoredRelease, *, synthetic: bool) -> None:
    console.print()
    evaluation = release.manifest.evaluation
    if evaluation is None:
        console.print("Evaluation: none")
        return
    try:
        table = evaluation_table(release)
    except EvaluationError as error:
        console.print(f"Evaluation: {escape(str(error))}")
        return
    if table is None:
        console.print("Evaluation: its table is not in the proof")
        return
    what = (
        "synthetic faces: says nothing about clinical accuracy" if synthetic else "the silos' own test photos"
    )
    wide = Console(width=max(console.width, 112), file=console.file)
    wide.print(accuracy_table({"federated": table}, title=f"Evaluation ({what})"))
